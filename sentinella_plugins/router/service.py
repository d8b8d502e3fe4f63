"""Chooses models, explains why, and learns from what came of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from sentinella_plugins.kernel.asking import Ask
from sentinella_plugins.kernel.call import Call, Choice, Outcome, Principal
from sentinella_plugins.kernel.catalogue import Catalogue
from sentinella_plugins.kernel.clock import Clock, SystemClock
from sentinella_plugins.kernel.errors import BadRequest, SentinellaError, Unavailable
from sentinella_plugins.kernel.events import Events
from sentinella_plugins.router import explanation, reports
from sentinella_plugins.router.archive import Archive, arm, scored
from sentinella_plugins.router.books import Books
from sentinella_plugins.router.budgets import Budgets
from sentinella_plugins.router.chooser import Chooser
from sentinella_plugins.router.config import RouterConfig
from sentinella_plugins.router.heuristic import HeuristicPredictor
from sentinella_plugins.router.journal import Journal, Note
from sentinella_plugins.router.learning import Live
from sentinella_plugins.router.lineup import Lineups, modes
from sentinella_plugins.router.loading import open_predictor
from sentinella_plugins.router.models import (
    Features,
    Policy,
    Predictor,
)
from sentinella_plugins.router.profiles import Profiles
from sentinella_plugins.router.sessions import Sessions
from sentinella_plugins.router.shadow import Shadow
from sentinella_plugins.router.sharing import Sharing
from sentinella_plugins.router.store import RouterStore
from sentinella_plugins.router.tallies import Tallies
from sentinella_plugins.router.teacher import Calibrated, Row, Teacher
from sentinella_plugins.router.trouble import Trouble
from sentinella_plugins.router.weighing import Decided, Scales
from sentinella_plugins.storage.database import Database
from sentinella_plugins.vectors.models import Encoder

__all__ = ["Choice", "Policy", "RouterService"]

logger = logging.getLogger(__name__)


class RouterService:
    """`open` loads the predictor unless one is given; `run` must run. Without a database everything is
    remembered in this process only. `broken` tells whether a model's breaker is open."""

    def __init__(
        self,
        catalogue: Catalogue,
        config: RouterConfig,
        *,
        database: Database | None = None,
        events: Events | None = None,
        clock: Clock | None = None,
        encoder: Encoder | None = None,
        predictor: Predictor | None = None,
        broken: Callable[[str], bool] = lambda _model: False,
        ask: Ask | None = None,
    ) -> None:
        self.config = config
        self.problem: str | None = None
        self._catalogue = catalogue
        self._clock = clock or SystemClock()
        self._encoder = encoder
        self._given = predictor
        self._broken = broken
        self._ask = ask
        self._store = RouterStore(database) if database is not None else None
        self._lineups = Lineups(catalogue)
        self._live = Live(config.learning, self._clock.now())
        self._tallies = Tallies()
        self._journal = Journal(config.journal)
        self._sessions = Sessions(config.stickiness.max_sessions)
        self._budgets = Budgets()
        self._trouble = Trouble(events, self._clock)
        self._archive = Archive(self._journal, self._store)
        self._away = False
        self._equip(predictor or HeuristicPredictor())

    async def open(self) -> None:
        if self._given is not None:
            return
        folder = Path(self.config.artefact) if self.config.artefact else None
        predictor, self.problem = await asyncio.to_thread(open_predictor, folder)
        self._equip(predictor)
        if self.problem is not None:
            await self._trouble.tell(self.problem)

    async def run(self) -> None:
        """Keeps in step with the database, until cancelled."""
        while True:
            try:
                await self.round()
            except Exception:
                logger.exception("a round of the router failed; the next one follows")
            await asyncio.sleep(self.config.journal.flush_s)

    async def round(self) -> None:
        await self._books.catch_up()
        try:
            await self._teacher.round()
            if self._sharing is not None:
                await self._sharing.round()
        except Unavailable as error:
            if not self._away:
                await self._trouble.tell(f"the database is away: {error}")
            self._away = True
        else:
            self._away = False

    async def close(self) -> None:
        await self._shadow.close()
        await self.round()

    async def settle_shadows(self) -> None:
        """Waits for the comparisons that run."""
        await self._shadow.idle()

    def check(self, model: str, route: str) -> None:
        """`BadRequest` when a known model cannot answer on this route."""
        card = self._catalogue.find(model)
        if card is not None and card.mode not in modes(route):
            raise BadRequest(f"`{model}` is a model for {card.mode}, not for `{route}`.", param="model")

    async def choose(self, call: Call, policy: Policy) -> Call:
        """The call with its model. Raises `ModelForbidden` when no model that fits the route is allowed, and
        `NoModelFits`."""
        try:
            choice, decided = await self._chooser.choose(call, policy)
        except SentinellaError:
            raise
        except Exception as error:
            await self._broke(error)
            choice, decided = self._chooser.plain(call, policy)
        self._journal.put(Note(call, decided, choice, self._predictor.name))
        return call.evolve(model=choice.model).with_note(choice).with_note(decided)

    def experiments_with(self, model: str) -> bool:
        """Whether calls that name this model may take part in an experiment."""
        return any(experiment.replaces == model for experiment in self.config.experiments)

    def replace(self, call: Call, policy: Policy) -> Call:
        """A call that names its model, with what an experiment makes of it."""
        chosen = self._chooser.replaced(call, policy)
        if chosen is None:
            return call
        choice, decided = chosen
        return call.evolve(model=choice.model).with_note(choice).with_note(decided)

    def leave(self, call: Call, outcome: Outcome) -> None:
        """Learns from how a call ended."""
        self._budgets.remember(call, outcome, self._clock.now())
        if outcome.status in ("refused", "abandoned") or outcome.cached:
            return
        self._books.leave(call, outcome)
        decided = call.note(Decided)
        self._shadow.consider(call, outcome, decided.features if decided else None)

    async def consider(self, call: Call, policy: Policy) -> Choice:
        """What would be chosen now; nothing is remembered."""
        choice, _ = await self._chooser.choose(call, policy, dry=True)
        return choice

    async def features(self, call: Call) -> Features:
        """What the router makes of a prompt."""
        return await self._chooser.look(call)

    async def dry_run(self, call: Call, policy: Policy) -> Mapping[str, object]:
        """`consider`, explained."""
        choice, decided = await self._chooser.choose(call, policy, dry=True)
        return explanation.document(call, decided, choice, self._predictor.name)

    async def explain(self, who: Principal, request_id: str) -> Mapping[str, object]:
        """`NoDecision` unless it is a call of this tenant; admins may ask about all."""
        await self._books.catch_up()
        return await self._archive.document(who, request_id)

    async def feedback(self, who: Principal, request_id: str, score: float, comment: str = "") -> str:
        """How good an answer was, 0..1; the same key may correct itself. Returns the model that gave it."""
        await self._books.catch_up()
        entry = await self._archive.entry(who, request_id)
        if await self._teacher.observe([scored(entry, who.key_id, score, comment, self._clock.now())]):
            self._books.measure(*arm(entry), "feedback", score)
        return entry.model

    async def calibrate(self, tenant: str, rows: Sequence[Row]) -> Calibrated:
        """Raises `BadRequest` for more rows than are taken at once."""
        most = self.config.learning.max_calibration_rows
        if len(rows) > most:
            raise BadRequest(f"A calibration has at most {most} rows.", param="rows")
        return await self._teacher.calibrate(tenant, rows)

    async def forget(self, tenant: str) -> None:
        """Everything that was learned from this tenant alone, and its decisions."""
        self._journal.forget(tenant)
        self._teacher.forget(tenant)
        if self._store is not None:
            await self._store.forget_tenant(tenant)

    def stats(self, who: Principal) -> dict[str, object]:
        """Members see how models do; admins also how much they are used, experiments and shadows."""
        admin = who.role == "admin"
        return {
            "object": "router.stats",
            "strategy": self.config.strategy,
            "predictor": self._predictor.name,
            "problem": self.problem,
            "calibrated": sorted(self._profiles.own(who.tenant)),
            "models": reports.models(self._live, volumes=admin),
            "experiments": reports.experiments(self.config, self._tallies) if admin else [],
            "shadow": reports.shadows(self._tallies) if admin else [],
        }

    def _equip(self, predictor: Predictor) -> None:
        """Everything that depends on what predicts."""
        config, clock = self.config, self._clock
        self._predictor = predictor
        self._profiles = Profiles(predictor, config.learning.max_tenants)
        self._teacher = Teacher(
            config, self._catalogue, predictor, self._profiles, clock, self._encoder, self._store
        )
        scales = Scales(config, self._lineups, predictor, self._live, self._profiles, self._broken)
        self._chooser = Chooser(
            config,
            self._lineups,
            predictor,
            scales,
            self._sessions,
            self._budgets,
            clock,
            self._encoder,
            self._store,
        )
        self._books = Books(
            config,
            self._live,
            self._tallies,
            self._journal,
            self._sessions,
            clock,
            self._chooser.features,
            predictor.name,
        )
        self._shadow = Shadow(
            config.shadow,
            self._catalogue,
            self._tallies,
            self._teacher,
            clock,
            self._ask,
            self._encoder,
        )
        self._sharing = None if self._store is None else self._share(self._store)

    def _share(self, store: RouterStore) -> Sharing:
        return Sharing(
            self.config, store, self._clock, self._live, self._tallies, self._journal, self._profiles
        )

    async def _broke(self, error: Exception) -> None:
        logger.exception("no model could be chosen by prediction")
        await self._trouble.tell_seldom(f"choosing failed: {type(error).__name__}")
        if self.config.on_failure == "closed":
            raise Unavailable("The router failed. Name a model, or retry shortly.") from error
