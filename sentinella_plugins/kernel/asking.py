"""Calls that the gateway makes by itself, on a tenant's account."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sentinella_plugins.kernel.call import Json, Outcome, Principal


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """`purpose` names it in ledger and traces (`summary`, `cache_check`, `shadow`); `body` is a chat body
    without a model."""

    purpose: str
    principal: Principal
    model: str
    body: Json


Ask = Callable[[Question], Awaitable[Outcome]]
"""Plays a question with limits, failover, ledger and traces like every call, but never from the cache. Its
outcome holds the answer's `body`; raises `SentinellaError` when there is none."""
