"""The breakers of one worker, one for each model that was ever asked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from sentinella_plugins.fallback.breaker import Breaker, Transition
from sentinella_plugins.fallback.config import BreakerConfig
from sentinella_plugins.fallback.models import Health
from sentinella_plugins.fallback.verdicts import sign
from sentinella_plugins.kernel.catalogue import ModelCard
from sentinella_plugins.kernel.clock import Clock


class Breakers:
    def __init__(self, config: BreakerConfig, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._breakers: dict[str, Breaker] = {}
        self._last_errors: dict[str, tuple[str, float]] = {}
        self._born, self._began = clock.now(), clock.monotonic()

    def blocked_until(self, model: str, now: float) -> float | None:
        breaker = self._breakers.get(model)
        return None if breaker is None else breaker.blocked_until(now)

    def enter(self, model: str, now: float) -> bool:
        breaker = self._breakers.get(model)
        return True if breaker is None else breaker.enter(now)

    def record(
        self, model: str, now: float, started: float, *, ok: bool, ms: float, code: str | None
    ) -> Transition | None:
        breaker = self._of(model)
        meaning = sign(ok, code)
        if not ok and code is not None and meaning != "none":
            self._last_errors[model] = (code, self._clock.now())
        if meaning == "none":
            breaker.release()
            return None
        slow = ms > self._config.slow_call_s * 1000
        return breaker.record(now, started, ok=meaning == "well", slow=slow)

    def adopt(self, model: str, to: Literal["open", "closed"], until: float, reason: str, now: float) -> bool:
        if to == "closed" and model not in self._breakers:
            return False
        return self._of(model).adopt(to, until, reason, now)

    def health(self, cards: Iterable[ModelCard]) -> list[Health]:
        return [self._health(card, self._clock.monotonic(), self._clock.now()) for card in cards]

    def _of(self, model: str) -> Breaker:
        breaker = self._breakers.get(model)
        if breaker is None:
            breaker = self._breakers[model] = Breaker(self._config, self._began)
        return breaker

    def _health(self, card: ModelCard, now: float, unix: float) -> Health:
        breaker = self._breakers.get(card.name)
        calls, failures, _ = breaker.counts(now) if breaker else (0, 0, 0)
        state = breaker.state(now) if breaker else "closed"
        code, at = self._last_errors.get(card.name, (None, None))
        return Health(
            model=card.name,
            provider=card.provider,
            state=state,
            reason=breaker.reason if breaker else None,
            since=unix - (now - breaker.since) if breaker else self._born,
            until=unix + (breaker.until - now) if breaker and state == "open" else None,
            error_rate=failures / calls if calls else 0.0,
            calls=calls,
            last_error=code,
            last_error_at=at,
        )
