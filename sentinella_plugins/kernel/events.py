"""What rooms tell each other without knowing each other."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar, cast

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """`at` in Unix seconds."""

    at: float
    tenant: str


E = TypeVar("E", bound=Event)
Handler = Callable[[E], Awaitable[None]]


@dataclass(frozen=True, kw_only=True, slots=True)
class CallAbandoned(Event):
    """A worker died in the middle of this call; its reservation was released."""

    request_id: str
    key_id: str
    route: str
    model: str
    started_at: float


@dataclass(frozen=True, kw_only=True, slots=True)
class LimitReached(Event):
    """A call was refused: `code` names the limit as in the 429 body."""

    request_id: str
    key_id: str
    code: str


@dataclass(frozen=True, kw_only=True, slots=True)
class TenantDeleted(Event):
    """What rooms keep of this tenant may go: its id may be given anew."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PartFailed(Event):
    """A room failed while a call went on without it."""

    part: str
    error: str


@dataclass(frozen=True, kw_only=True, slots=True)
class BreakerOpened(Event):
    """A model is left alone until then (Unix seconds): `reason` tells why. Of no tenant."""

    model: str
    reason: str
    until: float
    error_rate: float


@dataclass(frozen=True, kw_only=True, slots=True)
class BreakerClosed(Event):
    """A model answers again. Of no tenant."""

    model: str


@dataclass(frozen=True, kw_only=True, slots=True)
class FellBack(Event):
    """A call went on to another model: `code` tells why."""

    request_id: str
    from_model: str
    to_model: str
    code: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolRan(Event):
    """The gateway ran a tool for a model, or tried to: `error` is the code of what failed."""

    request_id: str
    name: str
    kind: str
    ok: bool
    ms: float
    error: str | None = None


class Events:
    """Handlers run in the order they subscribed; one that fails is logged and does not stop the others."""

    def __init__(self) -> None:
        self._handlers: dict[type[Event], list[Handler[Event]]] = defaultdict(list)

    def subscribe(self, kind: type[E], handler: Handler[E]) -> None:
        self._handlers[kind].append(cast("Handler[Event]", handler))

    async def publish(self, event: Event) -> None:
        for handler in self._handlers[type(event)]:
            try:
                await handler(event)
            except Exception:
                logger.exception("a handler of `%s` failed", type(event).__name__)
