"""Windows of time and what a call claims in them. Pure.

All windows are fixed and in UTC: minutes, hours and days are aligned to the epoch, months to the calendar. A
window holds its first instant and not its last: at the boundary the new one counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from math import ceil
from typing import Literal

from sentinella_plugins.kernel.call import Estimate
from sentinella_plugins.kernel.limits import Limits
from sentinella_plugins.kernel.money import usd
from sentinella_plugins.kernel.standing import Standing
from sentinella_plugins.storage.protocols import Claim

Quantity = Literal["requests", "tokens", "cost", "calls"]
Period = Literal["minute", "hour", "day", "month"]

_FIXED: Mapping[Period, int] = {"minute": 60, "hour": 3_600, "day": 86_400}


@dataclass(frozen=True, slots=True)
class Spec:
    """One kind of limit. Without a period it is a gauge: calls that run at this moment."""

    name: str
    quantity: Quantity
    period: Period | None
    code: str

    def shown(self, amount: int) -> str:
        return usd(amount) if self.quantity == "cost" else str(amount)


SPECS = (
    Spec("requests_per_minute", "requests", "minute", "rate_limit_minute"),
    Spec("requests_per_hour", "requests", "hour", "rate_limit_hour"),
    Spec("requests_per_day", "requests", "day", "rate_limit_day"),
    Spec("tokens_per_minute", "tokens", "minute", "rate_limit_minute"),
    Spec("cost_per_day_usd", "cost", "day", "cost_limit_day"),
    Spec("cost_per_month_usd", "cost", "month", "cost_limit_month"),
    Spec("max_concurrency", "calls", None, "concurrency_limit"),
)


@dataclass(frozen=True, slots=True)
class Window:
    """From `start` until just before `end`, Unix seconds."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Use:
    """A claim with its meaning and what its bucket holds."""

    spec: Spec
    claim: Claim
    limit: int
    used: int

    @property
    def left(self) -> int:
        return max(0, self.limit - self.used)

    def resets_at(self, now: float) -> float:
        return now + 1 if self.claim.expires_at is None else self.claim.expires_at


def window(period: Period, now: float) -> Window:
    """The one window of this period that holds `now`."""
    return _windows(int(now // 60))[period]


def needs_estimate(limits: Limits) -> bool:
    """Whether tokens or money are limited."""
    return not (limits.tokens_per_minute is limits.cost_per_day_usd is limits.cost_per_month_usd is None)


def claims(scope: str, limits: Limits, estimate: Estimate, now: float) -> list[tuple[Spec, Claim]]:
    """One claim for each quantity that is limited."""
    amounts: Mapping[Quantity, int] = {
        "requests": 1,
        "tokens": estimate.tokens,
        "cost": estimate.cost,
        "calls": 1,
    }
    windows = _windows(int(now // 60))
    found = []
    for spec in SPECS:
        limit: int | None = getattr(limits, spec.name)
        if limit is not None:
            found.append((spec, _claim(scope, spec, amounts[spec.quantity], limit, windows)))
    return found


def standing(uses: Sequence[Use], now: float) -> Standing:
    """The tightest request window, and what is left of every limit (the lower of tenant and key)."""
    left: dict[str, int | str] = {}
    for use in sorted(uses, key=lambda use: use.left, reverse=True):
        left[use.spec.name] = use.spec.shown(use.left) if use.spec.quantity == "cost" else use.left
    requests = [use for use in uses if use.spec.quantity == "requests"]
    if not requests:
        return Standing(budget_left=left)
    tightest = min(requests, key=lambda use: (use.left, -use.resets_at(now)))
    return Standing(
        limit=tightest.limit,
        remaining=tightest.left,
        reset_s=seconds_until(tightest.resets_at(now), now),
        budget_left=left,
    )


def seconds_until(at: float, now: float) -> int:
    """Whole seconds, at least one."""
    return max(1, ceil(at - now))


def last_to_reset(uses: Iterable[Use], now: float) -> Use:
    return max(uses, key=lambda use: use.resets_at(now))


def _claim(scope: str, spec: Spec, amount: int, limit: int, windows: Mapping[Period, Window]) -> Claim:
    if spec.period is None:
        return Claim(f"{scope}|{spec.quantity}", amount, limit, None)
    inside = windows[spec.period]
    return Claim(f"{scope}|{spec.quantity}|{spec.period}|{inside.start}", amount, limit, inside.end)


@lru_cache(maxsize=8)
def _windows(minute: int) -> Mapping[Period, Window]:
    """Every window begins on a minute, so the minute decides them all."""
    at = minute * 60
    fixed = {period: Window(at - at % length, at - at % length + length) for period, length in _FIXED.items()}
    return {**fixed, "month": _month(at)}


def _month(at: int) -> Window:
    first = datetime.fromtimestamp(at, UTC).replace(day=1, hour=0, minute=0, second=0)
    years, month = divmod(first.month, 12)
    following = first.replace(year=first.year + years, month=month + 1)
    return Window(int(first.timestamp()), int(following.timestamp()))
