"""What a call needs, what may go wrong with it, and what to do next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from sentinella_plugins.fallback.config import Recovery

State = Literal["closed", "open", "half_open"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Needs:
    """What a model must be able to do; 0 tokens means that nothing is known."""

    capabilities: frozenset[str] = frozenset()
    prompt_tokens: int = 0
    output_tokens: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Preferences:
    """A tenant's or a request's own wishes, as shell-style patterns. `exclude` names models or providers.

    They bind what stands in for the requested model, never the requested model itself.
    """

    providers: Sequence[str] = ()
    exclude: Sequence[str] = ()
    chains: Mapping[str, Sequence[str]] = field(default_factory=dict)
    stream_recovery: Recovery | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt failed. `model` only where two attempts run at once."""

    code: str
    status: int = 502
    retry_after_s: float | None = None
    message: str = ""
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """Ask `model` after `wait_s`. `recovery` tells how, when text of an earlier attempt was sent."""

    model: str
    wait_s: float = 0.0
    reason: str = "requested"
    recovery: Literal["continue", "restart"] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Health:
    """How a model does. Times in Unix seconds; `calls` and `error_rate` are of the window."""

    model: str
    provider: str
    state: State
    reason: str | None
    since: float
    until: float | None
    error_rate: float
    calls: int
    last_error: str | None
    last_error_at: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Notice:
    """What one worker tells the others about a breaker. Times in Unix seconds."""

    model: str
    state: Literal["closed", "open"]
    until: float
    reason: str
    updated_at: float
    owner: str
