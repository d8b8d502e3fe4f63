"""What tenants may still spend, as far as their last calls told."""

from __future__ import annotations

from collections import OrderedDict
from decimal import Decimal, InvalidOperation

from sentinella_plugins.kernel.call import Call, Outcome
from sentinella_plugins.kernel.errors import LimitExceeded
from sentinella_plugins.kernel.standing import Standing

_KEPT = 10_000
_FRESH_S = 60.0
_LIMITS = ("cost_per_day_usd", "cost_per_month_usd")


class Budgets:
    """A minute old at most: limits are kept elsewhere, here they only steer towards what can be paid."""

    def __init__(self) -> None:
        self._left: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()

    def left(self, call: Call, now: float) -> float | None:
        """In USD; `None` when there is no limit or nothing is known."""
        left, at = self._left.get(_key(call), (None, 0.0))
        return left if now - at < _FRESH_S else None

    def remember(self, call: Call, outcome: Outcome, now: float) -> None:
        refusal = outcome.error
        standing = refusal.standing if isinstance(refusal, LimitExceeded) else call.note(Standing)
        left = None if standing is None else _least(standing)
        if left is None:
            return
        self._left[_key(call)] = (left, now)
        self._left.move_to_end(_key(call))
        while len(self._left) > _KEPT:
            self._left.popitem(last=False)


def _key(call: Call) -> tuple[str, str]:
    return call.principal.tenant, call.principal.key_id


def _least(standing: Standing) -> float | None:
    try:
        found = [Decimal(standing.budget_left[name]) for name in _LIMITS if name in standing.budget_left]
    except InvalidOperation:
        return None
    return max(0.0, float(min(found))) if found else None
