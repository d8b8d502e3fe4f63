"""Who may do what: the guard of routes, patterns of models, and the short memory that asking needs."""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated, Generic, TypeVar

from pydantic import Field

from sentinella_plugins.kernel.call import Principal
from sentinella_plugins.kernel.clock import Clock

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

AUTO = "auto"
"""The model name that leaves the choice to the router."""

TENANT_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")

Name = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$")]
Pattern = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+$")]
Patterns = Annotated[tuple[Pattern, ...], Field(max_length=200)]
"""Shell-style patterns of model names: `gpt-4o*`, `claude-?-opus`, `gpt-[34]*`. Case matters."""


@dataclass(frozen=True, slots=True)
class Guard:
    """FastAPI dependencies: each gives the `Principal` or raises `Unauthenticated` or `Forbidden`."""

    member: Callable[..., Awaitable[Principal]]
    admin: Callable[..., Awaitable[Principal]]
    metrics: Callable[..., Awaitable[Principal]]


def matches(patterns: Iterable[str] | None, name: str) -> bool:
    """Whether any pattern fits; `None` fits everything, an empty list nothing."""
    return patterns is None or any(fnmatchcase(name, pattern) for pattern in patterns)


def may_use(principal_models: Iterable[str] | None, tenant_models: Iterable[str] | None, model: str) -> bool:
    """Whether both the key's and the tenant's patterns let this model be used."""
    return matches(principal_models, model) and matches(tenant_models, model)


class Recent(Generic[K, V]):
    """What a store said, at most `ttl_s` ago: bounded, and one read at a time per key.

    What the store does not know is remembered too, in a space of its own: a flood of invented keys does not
    push out the real ones.
    """

    def __init__(
        self, load: Callable[[K], Awaitable[V | None]], clock: Clock, *, ttl_s: float, size: int
    ) -> None:
        self._load = load
        self._clock = clock
        self._ttl_s = ttl_s
        self._size = size
        self._known: OrderedDict[K, tuple[float, V]] = OrderedDict()
        self._unknown: OrderedDict[K, float] = OrderedDict()
        self._reads: dict[K, tuple[float, asyncio.Task[V | None]]] = {}

    async def get(self, key: K) -> V | None:
        fresh = self._clock.monotonic() - self._ttl_s
        known = self._known.get(key)
        if known is not None and known[0] > fresh:
            self._known.move_to_end(key)
            return known[1]
        if self._unknown.get(key, fresh) > fresh:
            return None
        return await asyncio.shield(self._read(key, fresh))

    def last(self, key: K) -> V | None:
        """The last answer, however old: for those who would rather go on than wait for the store."""
        known = self._known.get(key)
        return None if known is None else known[1]

    def forget(self, key: K) -> None:
        self._known.pop(key, None)
        self._unknown.pop(key, None)
        self._reads.pop(key, None)

    def _read(self, key: K, fresh: float) -> asyncio.Task[V | None]:
        running = self._reads.get(key)
        if running is not None and running[0] > fresh:
            return running[1]
        # The age counts from before the read: a slow store cannot make an old answer look new.
        started = self._clock.monotonic()
        task = asyncio.ensure_future(self._ask(key))
        self._reads[key] = (started, task)
        task.add_done_callback(lambda done: self._keep(key, started, done))
        return task

    async def _ask(self, key: K) -> V | None:
        return await self._load(key)

    def _keep(self, key: K, started: float, task: asyncio.Task[V | None]) -> None:
        running = self._reads.get(key)
        current = running is not None and running[1] is task
        if current:
            del self._reads[key]
        if task.cancelled() or task.exception() is not None or not current:
            return
        value = task.result()
        self._known.pop(key, None) if value is None else self._unknown.pop(key, None)
        if value is None:
            _put(self._unknown, key, started, self._size)
        else:
            _put(self._known, key, (started, value), self._size)


def _put(memory: OrderedDict[K, V], key: K, value: V, size: int) -> None:
    memory[key] = value
    memory.move_to_end(key)
    while len(memory) > size:
        memory.popitem(last=False)
