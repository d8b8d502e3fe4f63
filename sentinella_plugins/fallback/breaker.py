"""A circuit breaker: leaves a model alone that fails, and tries it again now and then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sentinella_plugins.fallback.config import BreakerConfig
from sentinella_plugins.fallback.models import State
from sentinella_plugins.fallback.window import Window


@dataclass(frozen=True, slots=True)
class Transition:
    to: Literal["open", "closed"]
    reason: str
    until: float
    error_rate: float


class Breaker:
    """Closed, open, and half-open once `until` has passed. Times are of one clock that never goes back.

    What counts is when an attempt started: one from before the last change tells nothing about the state that
    came after it. Attempts that were made in spite of an open breaker may close it.
    """

    def __init__(self, config: BreakerConfig, now: float) -> None:
        self._config = config
        self._window = Window(config.window_s)
        self._open = False
        self._streak = 0
        self._last_failure = now
        self._failed_probes = 0
        self._probes: list[float] = []
        self._probation_until = now
        self.since = now
        self.until = now
        self.reason: str | None = None

    def state(self, now: float) -> State:
        if not self._open:
            return "closed"
        return "open" if now < self.until else "half_open"

    def counts(self, now: float) -> tuple[int, int, int]:
        """Calls, failures and slow calls in the window."""
        return self._window.counts(now)

    def blocked_until(self, now: float) -> float | None:
        """`None` when a call may start now; else when that may be so again."""
        if not self._open:
            return None
        if now < self.until:
            return self.until
        self._probes = [lease for lease in self._probes if lease > now]
        return None if len(self._probes) < self._config.half_open_probes else min(self._probes)

    def enter(self, now: float) -> bool:
        """Whether a call may start. A probe's place is kept until its result, or `slow_call_s`."""
        if self.blocked_until(now) is not None:
            return False
        if self._open:
            self._probes.append(now + self._config.slow_call_s)
        return True

    def release(self) -> None:
        """A call ended that tells nothing about the model."""
        if self._probes:
            self._probes.pop(0)

    def record(self, now: float, started: float, *, ok: bool, slow: bool = False) -> Transition | None:
        self._window.add(now, failed=not ok, slow=slow)
        if started < self.since:
            return None
        if self._open:
            return self._record_probe(now, started, ok=ok and not slow)
        return self._record_closed(now, ok=ok, slow=slow)

    def adopt(self, to: Literal["open", "closed"], until: float, reason: str, now: float) -> bool:
        """Takes over what another worker found out; whether that changed anything."""
        if to == "closed":
            if self._open:
                self._close(now)
                return True
            return False
        if until <= now or (self._open and until <= self.until):
            return False
        self._shut(now, min(until, now + self._config.open_max_s), reason)
        self._probation_until = now + self._config.probation_s
        return True

    def _record_probe(self, now: float, started: float, *, ok: bool) -> Transition | None:
        if ok:
            self._close(now)
            return Transition("closed", "probe_succeeded", now, 0.0)
        if started < self.until:
            return None
        self._failed_probes += 1
        return self._trip(now, "probe_failed")

    def _record_closed(self, now: float, *, ok: bool, slow: bool) -> Transition | None:
        if ok:
            self._streak = 0
            if not slow:
                return None
        else:
            recent = now - self._last_failure <= self._config.window_s
            self._streak = self._streak + 1 if recent else 1
            self._last_failure = now
        reason = self._diagnosis(now, failed=not ok)
        return None if reason is None else self._trip(now, reason)

    def _diagnosis(self, now: float, *, failed: bool) -> str | None:
        config = self._config
        calls, failures, slow = self._window.counts(now)
        busy = calls >= config.min_calls
        if failed and self._streak >= (config.consecutive_failures if busy else config.quiet_failures):
            return "consecutive_failures"
        if busy and failures >= calls * config.error_rate:
            return "error_rate"
        if busy and slow >= calls * config.slow_rate:
            return "slow_calls"
        return "relapse" if failed and now < self._probation_until else None

    def _trip(self, now: float, reason: str) -> Transition:
        # A relapse is one failure only: were it to prolong the probation, a busy model with few errors would
        # never leave it.
        if reason != "relapse":
            self._probation_until = now + self._config.probation_s
        calls, failures, _ = self._window.counts(now)
        pause = min(self._config.open_max_s, self._config.open_s * 2.0 ** min(self._failed_probes, 60))
        self._shut(now, now + pause, reason)
        return Transition("open", reason, self.until, failures / calls if calls else 0.0)

    def _shut(self, now: float, until: float, reason: str) -> None:
        if not self._open:
            self.since = now
        self._open = True
        self.until = until
        self.reason = reason
        self._probes.clear()

    def _close(self, now: float) -> None:
        self._open = False
        self._streak = self._failed_probes = 0
        self._probes.clear()
        self._window.clear()
        self.since = self.until = now
        self.reason = None
