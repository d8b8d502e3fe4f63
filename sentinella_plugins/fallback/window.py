"""Counts of the last seconds, in a fixed number of buckets."""

from __future__ import annotations

BUCKETS = 10


class Window:
    def __init__(self, length_s: float) -> None:
        self._width = length_s / BUCKETS
        self._slots: list[tuple[int, int, int, int]] = []
        self.clear()

    def clear(self) -> None:
        self._slots = [(-BUCKETS, 0, 0, 0)] * BUCKETS

    def add(self, now: float, *, failed: bool, slow: bool) -> None:
        tick = int(now / self._width)
        at, calls, failures, slows = self._slots[tick % BUCKETS]
        if at != tick:
            calls = failures = slows = 0
        self._slots[tick % BUCKETS] = (tick, calls + 1, failures + failed, slows + slow)

    def counts(self, now: float) -> tuple[int, int, int]:
        """Calls, failures and slow calls."""
        oldest = int(now / self._width) - BUCKETS
        calls = failures = slows = 0
        for at, some, failed, slow in self._slots:
            if at > oldest:
                calls += some
                failures += failed
                slows += slow
        return calls, failures, slows
