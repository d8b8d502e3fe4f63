"""Where a tenant stands against its limits, for headers and bodies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """`limit`, `remaining` and `reset_s` are of the tightest request window; all `None` when requests are
    unlimited.

    `budget_left` maps each limited quantity to what is left of it, reservations counted as used: whole
    numbers for requests and tokens, exact decimal strings for dollars (`{"cost_per_day_usd": "4.25",
    "requests_per_minute": 59}`).
    """

    limit: int | None = None
    remaining: int | None = None
    reset_s: int | None = None
    budget_left: Mapping[str, int | str] = field(default_factory=dict)

    def headers(self) -> dict[str, str]:
        if self.limit is None:
            return {}
        return {
            "x-ratelimit-limit-requests": str(self.limit),
            "x-ratelimit-remaining-requests": str(self.remaining),
            "x-ratelimit-reset-requests": f"{self.reset_s}s",
        }
