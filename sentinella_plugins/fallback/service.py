"""Plans the attempts of every call, and remembers how the models do."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from random import Random

from sentinella_plugins.fallback.breaker import Transition
from sentinella_plugins.fallback.breakers import Breakers
from sentinella_plugins.fallback.budget import RetryBudget
from sentinella_plugins.fallback.chains import Chains
from sentinella_plugins.fallback.config import FallbackConfig
from sentinella_plugins.fallback.itinerary import Itinerary, Means
from sentinella_plugins.fallback.models import Health, Preferences
from sentinella_plugins.fallback.needs import needs_of
from sentinella_plugins.fallback.plan import Allowed, Planner, Route, order
from sentinella_plugins.fallback.sharing import Sharing
from sentinella_plugins.fallback.store import BreakerStore
from sentinella_plugins.kernel.call import Call
from sentinella_plugins.kernel.catalogue import Catalogue, ModelCard
from sentinella_plugins.kernel.clock import Clock
from sentinella_plugins.kernel.errors import ModelNotFound
from sentinella_plugins.kernel.events import BreakerClosed, BreakerOpened, Event, Events, FellBack
from sentinella_plugins.storage.database import Database

logger = logging.getLogger(__name__)
NO_PREFERENCES = Preferences()
MOST_UNTOLD = 10_000
_RANDOM = Random()  # noqa: S311 - spreads retries, guards nothing


class FallbackService:
    def __init__(
        self,
        database: Database,
        catalogue: Catalogue,
        events: Events,
        clock: Clock,
        config: FallbackConfig,
        chains: Chains | None = None,
        jitter: Callable[[], float] | None = None,
    ) -> None:
        self.config = config
        self._catalogue = catalogue
        self._events = events
        self._clock = clock
        self._planner = Planner(chains or Chains(chains=config.chains), automatic=config.automatic)
        self._breakers = Breakers(config.breaker, clock)
        self._means = Means(
            config, self._breakers, RetryBudget(config.retry_budget), jitter or _RANDOM.random
        )
        self._sharing = Sharing(BreakerStore(database), self._breakers, clock)
        self._news: deque[Event] = deque(maxlen=MOST_UNTOLD)
        self._woken = asyncio.Event()

    def begin(self, call: Call, allowed: Allowed, preferences: Preferences = NO_PREFERENCES) -> Itinerary:
        """`ModelNotFound` when neither the call's model nor what it is an alias of is in the catalogue."""
        card = self._find(call.model)
        return Itinerary(
            card,
            lambda: self._route(card, call, allowed, preferences),
            self._means,
            self._clock.monotonic(),
            recovery=preferences.stream_recovery,
            fell_over=lambda failed, model, code: self._fell_back(call, failed, model, code),
        )

    def plan(
        self, call: Call, allowed: Allowed, preferences: Preferences = NO_PREFERENCES
    ) -> tuple[str, ...]:
        """Every model that the call could come to, in order, as the breakers stand now."""
        now = self._clock.monotonic()
        route = self._route(self._find(call.model), call, allowed, preferences)
        return tuple(card.name for card in order(route, lambda name: self._breakers.blocked_until(name, now)))

    def record(
        self, model: str, *, ok: bool, ms: float, code: str | None = None, started: float | None = None
    ) -> None:
        """How an attempt went. `ms` is its time to the first byte where it streamed, else all of it;
        `started` (monotonic) must be given where the attempt went on for longer than `ms`. `cancelled` is the
        code of one that was broken off by the client."""
        if self._catalogue.find(model) is None:
            return
        now = self._clock.monotonic()
        began = now - ms / 1000 if started is None else started
        change = self._breakers.record(model, now, began, ok=ok, ms=ms, code=code)
        if change is not None:
            self._changed(model, change)

    def blocked(self, model: str) -> bool:
        """Whether its breaker is open now."""
        return self._breakers.blocked_until(model, self._clock.monotonic()) is not None

    def health(self) -> list[Health]:
        """Every model of the catalogue, in its order."""
        return self._breakers.health(self._catalogue.cards())

    async def run(self) -> None:
        """Tells what happened and keeps in step with the other workers, until cancelled."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            try:
                await self._publish()
                if loop.time() >= due:
                    due = loop.time() + self.config.share_every_s
                    await self._sharing.round()
            except Exception:
                logger.exception("a round of the breakers failed; the next one follows")
            await self._sleep(due - loop.time())

    async def round(self) -> None:
        """One round of `run`, now."""
        await self._publish()
        await self._sharing.round()

    async def close(self) -> None:
        """Tells what was not told yet."""
        await self.round()

    def _find(self, name: str) -> ModelCard:
        self._planner.know(self._catalogue.cards())
        card = self._planner.find(name)
        if card is None:
            raise ModelNotFound(f"There is no model `{name}` here.", param="model")
        return card

    def _route(self, card: ModelCard, call: Call, allowed: Allowed, preferences: Preferences) -> Route:
        return self._planner.route(card, call.model, needs_of(call), preferences, allowed)

    def _fell_back(self, call: Call, failed: str, model: str, code: str) -> None:
        self._tell(
            FellBack(
                at=self._clock.now(),
                tenant=call.principal.tenant,
                request_id=call.id,
                from_model=failed,
                to_model=model,
                code=code,
            )
        )

    def _changed(self, model: str, change: Transition) -> None:
        self._sharing.tell(model, change)
        now, since = self._clock.now(), self._clock.monotonic()
        if change.to == "closed":
            self._tell(BreakerClosed(at=now, tenant="", model=model))
            return
        self._tell(
            BreakerOpened(
                at=now,
                tenant="",
                model=model,
                reason=change.reason,
                until=now + (change.until - since),
                error_rate=change.error_rate,
            )
        )

    def _tell(self, event: Event) -> None:
        self._news.append(event)
        self._woken.set()

    async def _publish(self) -> None:
        self._woken.clear()
        while self._news:
            await self._events.publish(self._news.popleft())

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._woken.wait()
        except TimeoutError:
            return
