"""What the ledger holds and what is asked of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from sentinella_plugins.kernel.money import Nano

Dimension = Literal["day", "model", "key", "tenant", "provider"]
DIMENSIONS: tuple[Dimension, ...] = ("day", "model", "key", "tenant", "provider")
NOTHING = Nano(0)


@dataclass(frozen=True, kw_only=True, slots=True)
class LedgerLine:
    """One call. `at` in Unix seconds; cached and reasoning tokens are parts of prompt and completion."""

    request_id: str
    at: float
    tenant: str
    key_id: str
    route: str
    requested_model: str
    model: str
    provider: str
    status: str
    error_code: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    cost: Nano = NOTHING
    latency_ms: float = 0.0
    first_token_ms: float | None = None
    stream: bool = False
    cached: bool = False
    attempts: tuple[Mapping[str, object], ...] = ()
    session_id: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class UsageQuery:
    """Lines with `since <= at < until` (Unix seconds); tenant `None` is every tenant."""

    since: float
    until: float
    tenant: str | None = None
    group_by: tuple[Dimension, ...] = ("day", "model")


@dataclass(frozen=True, kw_only=True, slots=True)
class Sums:
    """`requests` also counts cancelled and abandoned calls, which are neither successes nor errors."""

    requests: int = 0
    successes: int = 0
    errors: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    cost: Nano = NOTHING


@dataclass(frozen=True, slots=True)
class UsageRow:
    """`group` holds one value for each dimension asked for; days are `YYYY-MM-DD` in UTC."""

    group: Mapping[str, str]
    sums: Sums


@dataclass(frozen=True, slots=True)
class Report:
    rows: tuple[UsageRow, ...]
    total: Sums


@dataclass(frozen=True, kw_only=True, slots=True)
class CallQuery:
    """Newest first; `after` is the request id of the last line already seen."""

    since: float
    until: float
    tenant: str | None = None
    model: str | None = None
    status: str | None = None
    after: str | None = None
    limit: int = 20
