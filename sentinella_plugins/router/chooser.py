"""From a call to its model."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from time import perf_counter

from sentinella_plugins.kernel.call import Call, Choice
from sentinella_plugins.kernel.catalogue import ModelCard
from sentinella_plugins.kernel.clock import Clock
from sentinella_plugins.kernel.errors import ModelForbidden, SentinellaError
from sentinella_plugins.router.budgets import Budgets
from sentinella_plugins.router.config import PRESETS, Objective, RouterConfig
from sentinella_plugins.router.experiments import assign, taking_part
from sentinella_plugins.router.exploration import explored
from sentinella_plugins.router.lineup import Lineups
from sentinella_plugins.router.models import SHOWN, Arm, Features, NoModelFits, Policy, Predictor
from sentinella_plugins.router.request import Request, read
from sentinella_plugins.router.rules import NOT_ALLOWED, bars, wishes
from sentinella_plugins.router.sessions import Sessions
from sentinella_plugins.router.store import RouterStore
from sentinella_plugins.router.weighing import Decided, Scales, Weighed
from sentinella_plugins.vectors.models import Encoder, Encoding

Chosen = tuple[Choice, Decided]


@dataclass(frozen=True, slots=True)
class Trial:
    """What an experiment wants of one call: `other` is its model, for both of its sides."""

    arm: Arm | None = None
    other: str | None = None
    other_objective: Objective | None = None

    @property
    def model(self) -> str | None:
        return self.other if self.arm and self.arm.treated else None

    @property
    def objective(self) -> Objective | None:
        return self.other_objective if self.arm and self.arm.treated else None

    def if_fitting(self, weighed: Weighed) -> Trial:
        """Both sides only where the other model could be taken: else they would not be alike."""
        names = (weighed.lineup.names[index] for index in weighed.verdict.ranking)
        return self if self.other is None or self.other in names else NO_TRIAL


NO_TRIAL = Trial()


@dataclass(frozen=True, slots=True)
class Chooser:
    config: RouterConfig
    lineups: Lineups
    predictor: Predictor
    scales: Scales
    sessions: Sessions
    budgets: Budgets
    clock: Clock
    encoder: Encoder | None = None
    store: RouterStore | None = None

    async def choose(self, call: Call, policy: Policy, *, dry: bool = False) -> Chosen:
        """Raises `ModelForbidden` when no model is allowed, `NoModelFits` when none fits. With `dry` nothing
        is remembered, explored or experimented with."""
        if self.config.strategy == "default_model" or call.route.endswith("/embeddings"):
            return self.plain(call, policy)
        request = read(call, self.config.reading)
        self._allowed(call, policy)
        encoding = await self._encoding(call, request)
        sticky = await self._sticky(call, request)
        return self._learned(call, policy, request, encoding, sticky, dry)

    def _learned(
        self,
        call: Call,
        policy: Policy,
        request: Request,
        encoding: Encoding | None,
        sticky: str | None,
        dry: bool,
    ) -> Chosen:
        started = perf_counter()
        features = self.features(request, encoding)
        trial = NO_TRIAL if dry else self._trial(call, request, None)
        objective = trial.objective or self._objective(call, policy)
        budget = self.budgets.left(call, self.clock.now())
        weighed = self.scales.weigh(call, request, features, policy, objective=objective, budget_usd=budget)
        trial = trial.if_fitting(weighed)
        index, reason = self._pick(call, weighed, trial, sticky, dry)
        if request.session is not None and not dry:
            self.sessions.put(request.session, weighed.lineup.answers[index])
        choice = Choice(
            model=weighed.lineup.names[index],
            reason=reason,
            candidates=_shown(weighed, index),
            task=features.task,
            complexity=features.complexity,
            ms=(perf_counter() - started) * 1000,
        )
        decided = Decided(
            request=request.without_text(),
            features=features,
            weighed=weighed,
            arm=trial.arm,
            encoded=encoding is not None,
        )
        return choice, decided

    def replaced(self, call: Call, policy: Policy) -> Chosen | None:
        """For a call that names its model: what an experiment makes of it."""
        request = read(call, self.config.reading)
        trial = self._trial(call, request, call.model)
        if trial.arm is None or trial.other is None:
            return None
        lineup = self.lineups.of(call.route)
        codes = bars(lineup, policy, wishes(policy, call.options.routing), request)
        if dict(zip(lineup.names, codes, strict=True)).get(trial.other, NOT_ALLOWED) is not None:
            return None
        model, reason = (trial.model, "experiment") if trial.model else (call.model, "requested")
        return Choice(model, reason, (model,)), Decided(request=request.without_text(), arm=trial.arm)

    async def look(self, call: Call) -> Features:
        request = read(call, self.config.reading)
        return self.features(request, await self._encoding(call, request))

    def features(self, request: Request, encoding: Encoding | None) -> Features:
        return self.predictor.features(
            request.text, encoding, messages=request.messages, images=request.images, tools=request.tools
        )

    def plain(self, call: Call, policy: Policy) -> Chosen:
        """The default model where it is allowed, else the cheapest one that is."""
        started = perf_counter()
        allowed = self._allowed(call, policy)
        cards = [card for card in allowed if not card.deprecated] or allowed
        names = tuple(card.name for card in cards)
        default = self.config.default_model
        found = default if default in names else None
        choice = Choice(
            found or min(cards, key=_price).name,
            "default_model" if found else "cheapest",
            names[:SHOWN],
            ms=(perf_counter() - started) * 1000,
        )
        return choice, Decided(request=Request())

    def _allowed(self, call: Call, policy: Policy) -> list[ModelCard]:
        cards = [card for card in self.lineups.of(call.route).cards if policy.allowed(card.name)]
        if not cards:
            raise ModelForbidden(f"This key may not use any model for `{call.route}`.")
        return cards

    def _trial(self, call: Call, request: Request, named: str | None) -> Trial:
        experiment = taking_part(self.config.experiments, call.principal.tenant, named)
        if experiment is None:
            return NO_TRIAL
        arm = assign(experiment, request.session or call.id)
        return Trial(arm, experiment.model, experiment.objective)

    def _objective(self, call: Call, policy: Policy) -> Objective:
        asked = call.options.routing.get("objective")
        return _known_objective(asked) or policy.objective or self.config.objective

    def _pick(
        self, call: Call, weighed: Weighed, trial: Trial, sticky: str | None, dry: bool
    ) -> tuple[int, str]:
        verdict, answers = weighed.verdict, weighed.lineup.answers
        if not verdict.ranking:
            raise NoModelFits(_excluded(weighed))
        if trial.model is not None:
            return weighed.lineup.names.index(trial.model), "experiment"
        best = verdict.ranking[0]
        stay = next((index for index in verdict.ranking if answers[index] == sticky), None)
        if stay is not None and answers[stay] != answers[best]:
            gain = float(verdict.utility[best] - verdict.utility[stay])
            if gain <= self.config.stickiness.switch_gain:
                return stay, "session"
        if sticky is None and not dry:
            tried = explored(self.config.exploration, call.id, weighed.slate, verdict, weighed.weights)
            if tried is not None:
                return tried, "exploration"
        return best, "experiment" if trial.objective else weighed.objective

    async def _encoding(self, call: Call, request: Request) -> Encoding | None:
        """The one that another room made already, else a new one; `None` when it takes too long."""
        known = call.note(Encoding)
        if known is not None and known.text in (request.question, request.text):
            return known
        if self.encoder is None or not request.text.strip():
            return None
        try:
            async with asyncio.timeout(self.config.reading.timeout_ms / 1000):
                return (await self.encoder.encode([request.text]))[0]
        except (TimeoutError, SentinellaError):
            return None

    async def _sticky(self, call: Call, request: Request) -> str | None:
        """The model that this conversation is on."""
        session = request.session
        if not self.config.stickiness.enabled or session is None or not request.later_turn:
            return None
        if self.sessions.knows(session) or self.store is None or not self.config.stickiness.shared:
            return self.sessions.model(session)
        try:
            async with asyncio.timeout(self.config.reading.timeout_ms / 1000):
                found = await self.store.last_model(call.principal.tenant, session)
        except (TimeoutError, SentinellaError):
            return None
        self.sessions.put(session, found)
        return found


def _known_objective(asked: object) -> Objective | None:
    return next((name for name in PRESETS if name == asked), None)


def _excluded(weighed: Weighed) -> dict[str, str]:
    pairs = zip(weighed.lineup.names, weighed.verdict.excluded, strict=True)
    return {name: code for name, code in pairs if code is not None and code != NOT_ALLOWED}


def _shown(weighed: Weighed, chosen: int) -> tuple[str, ...]:
    """The chosen one, then the best of the others."""
    others = [index for index in weighed.verdict.ranking[:SHOWN] if index != chosen]
    return tuple(weighed.lineup.names[index] for index in (chosen, *others[: SHOWN - 1]))


def _price(card: ModelCard) -> tuple[float, str]:
    known = card.input_usd_per_million is not None and card.output_usd_per_million is not None
    total = (card.input_usd_per_million or 0) + (card.output_usd_per_million or 0)
    return (total if known else float("inf"), card.name)
