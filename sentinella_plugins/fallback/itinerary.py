"""The attempts of one call, each decided when the one before has failed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from sentinella_plugins.fallback.budget import RetryBudget
from sentinella_plugins.fallback.config import FallbackConfig, Recovery
from sentinella_plugins.fallback.models import Failure, Step
from sentinella_plugins.fallback.plan import Route, least_bad, pick
from sentinella_plugins.fallback.verdicts import is_rejection, verdict
from sentinella_plugins.kernel.catalogue import ModelCard

FellOver = Callable[[str, str, str], None]
"""Called with the model that failed, the next one, and the code."""


class Gates(Protocol):
    """The breakers of all models."""

    def blocked_until(self, model: str, now: float) -> float | None: ...

    def enter(self, model: str, now: float) -> bool: ...


@dataclass(frozen=True, slots=True)
class Means:
    """What all calls share; `jitter` gives numbers from 0 to 1."""

    config: FallbackConfig
    gates: Gates
    budget: RetryBudget
    jitter: Callable[[], float]


class Itinerary:
    """Ask `first` once, then `after` for every failure until it is `None`; record an attempt with the service
    before. `now` and `started` are of the monotonic clock."""

    def __init__(
        self,
        requested: ModelCard,
        find_route: Callable[[], Route],
        means: Means,
        started: float,
        *,
        recovery: Recovery | None = None,
        fell_over: FellOver | None = None,
    ) -> None:
        self.attempts = 0
        self._requested = requested
        self._find_route = find_route
        self._means = means
        self._config = means.config
        self._started = started
        self._recovery: Recovery = recovery or means.config.stream_recovery
        self._fell_over = fell_over or (lambda *_: None)
        self._known_route: Route | None = None
        self._cards: dict[str, ModelCard] = {}
        self._tries: dict[str, int] = {}
        self._ready_at: dict[str, float] = {}
        self._given_up: set[str] = set()
        self._longer_than: int | None = None
        self._waited = 0.0
        self._last = Step(requested.name)

    def first(self) -> Step:
        now, requested = self._started, self._requested
        if self._blocked(now)(requested.name) is None:
            return self._go(requested, Step(requested.name), now)
        card = self._pick(now, requested.provider)
        if card is not None:
            self._fell_over(requested.name, card.name, "breaker_open")
            return self._go(card, Step(card.name, reason="breaker_open"), now)
        card = least_bad(self._route().all(), self._blocked(now))[0]
        if card.name != requested.name:
            self._fell_over(requested.name, card.name, "breaker_open")
        return self._go(card, Step(card.name, reason="least_bad"), now)

    def after(self, failure: Failure, now: float, sent_tokens: bool = False) -> Step | None:
        """The next step, or `None`: then the failure is the answer."""
        failed = self._cards.get(failure.model or self._last.model, self._requested)
        if self._must_end(now) or (sent_tokens and self._recovery == "error"):
            return None
        if is_rejection(failure) and sent_tokens and self._last.recovery == "continue":
            # It was our own half-written answer that this model did not accept.
            return self._go(failed, Step(failed.name, reason=failure.code, recovery="restart"), now)
        if verdict(failure) == "stop":
            return None
        self._remember(failed, failure, now)
        recovery = self._recovery if sent_tokens and self._recovery != "error" else None
        step = self._elsewhere(failed, failure, now) or self._last_resort(failure, now)
        if step is None:
            return None
        step = Step(step.model, step.wait_s, step.reason, recovery)
        if step.model != failed.name:
            self._fell_over(failed.name, step.model, failure.code)
        return self._go(self._cards[step.model], step, now)

    def hedge(self, now: float) -> Step | None:
        """A healthy model to be asked as well, while the last one is silent."""
        card = None if self._must_end(now) else self._pick(now, self._cards[self._last.model].provider)
        return None if card is None else self._go(card, Step(card.name, reason="hedge"), now)

    def _must_end(self, now: float) -> bool:
        return self.attempts >= self._config.max_attempts or now - self._started >= self._config.total_s

    def _remember(self, failed: ModelCard, failure: Failure, now: float) -> None:
        if verdict(failure) in ("never_again", "longer_window"):
            self._given_up.add(failed.name)
        if verdict(failure) == "longer_window":
            self._longer_than = max(self._longer_than or 0, failed.context_window or 0)
        if failure.retry_after_s is not None:
            self._ready_at[failed.name] = now + failure.retry_after_s

    def _elsewhere(self, failed: ModelCard, failure: Failure, now: float) -> Step | None:
        card = self._pick(now, failed.provider)
        if card is None:
            return None
        self._cards[card.name] = card
        return Step(card.name, reason=failure.code)

    def _last_resort(self, failure: Failure, now: float) -> Step | None:
        """Nothing healthy is left: the same model again after a wait, or one that is shut, the least bad
        first. Both are extra load on something that is ill, so both need the model's retry budget."""
        blocked = self._blocked(now)
        choices = [
            (blocked(card.name) or 0.0, self._wait(card.name, now), index, card)
            for index, card in enumerate(self._route().all(long=self._longer_than is not None))
            if self._may_try(card)
        ]
        for _, wait_s, _, card in sorted(choices, key=lambda choice: choice[:3]):
            if self._can_wait(card.name, wait_s, now) and self._means.budget.take(card.name, now):
                self._cards[card.name] = card
                self._waited += wait_s
                return Step(card.name, wait_s, failure.code)
        return None

    def _may_try(self, card: ModelCard) -> bool:
        if card.name in self._given_up or self._tries.get(card.name, 0) > self._config.same_model_retries:
            return False
        if self._longer_than is None:
            return True
        explicit = card in self._route().long and card.context_window is None
        return explicit or (card.context_window or 0) > self._longer_than

    def _wait(self, model: str, now: float) -> float:
        tries = self._tries.get(model, 0)
        if not tries:
            return 0.0
        ceiling = min(self._config.backoff_max_s, self._config.backoff_base_s * 2.0 ** (tries - 1))
        return max(self._means.jitter() * ceiling, self._ready_at.get(model, now) - now)

    def _can_wait(self, model: str, wait_s: float, now: float) -> bool:
        asked = self._ready_at.get(model, now) - now
        return (
            asked <= self._config.retry_after_max_s
            and self._waited + wait_s <= self._config.wait_budget_s
            and now + wait_s - self._started < self._config.total_s
        )

    def _pick(self, now: float, after: str | None) -> ModelCard | None:
        used = self._tries.keys()
        return pick(self._route(), used, after, self._blocked(now), self._longer_than)

    def _blocked(self, now: float) -> Callable[[str], float | None]:
        return lambda model: self._means.gates.blocked_until(model, now)

    def _route(self) -> Route:
        if self._known_route is None:
            self._known_route = self._find_route()
        return self._known_route

    def _go(self, card: ModelCard, step: Step, now: float) -> Step:
        self._means.gates.enter(card.name, now)
        if card.name not in self._tries:
            self._means.budget.deposit(card.name, now)
        self.attempts += 1
        self._tries[card.name] = self._tries.get(card.name, 0) + 1
        self._cards[card.name] = card
        self._last = step
        return step
