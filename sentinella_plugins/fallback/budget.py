"""Retries as a share of a model's calls, so that they cannot bury a model that is ill already."""

from __future__ import annotations

BURST = 10.0
PER_SECOND = 0.1


class RetryBudget:
    """A bucket per model: every call puts `share` of a retry in, every retry takes one out. A bucket holds at
    most `BURST`, is full at first, and gets `PER_SECOND` besides, so that quiet models may retry too."""

    def __init__(self, share: float) -> None:
        self._share = share
        self._buckets: dict[str, tuple[float, float]] = {}

    def deposit(self, model: str, now: float) -> None:
        self._buckets[model] = (min(BURST, self.left(model, now) + self._share), now)

    def left(self, model: str, now: float) -> float:
        tokens, at = self._buckets.get(model, (BURST, now))
        return min(BURST, tokens + max(0.0, now - at) * PER_SECOND)

    def take(self, model: str, now: float) -> bool:
        left = self.left(model, now)
        if self._share <= 0 or left < 1:
            return False
        self._buckets[model] = (left - 1, now)
        return True
