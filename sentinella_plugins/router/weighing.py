"""All models of a call, weighed: what excludes them, what is predicted for them, and how they rank."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sentinella_plugins.kernel.call import Call
from sentinella_plugins.router.config import Objective, RouterConfig, Weights
from sentinella_plugins.router.decision import Bounds, Slate, Verdict, decide
from sentinella_plugins.router.learning import Live
from sentinella_plugins.router.lineup import Lineup, Lineups
from sentinella_plugins.router.models import Arm, Features, Floats, Policy, Predictor
from sentinella_plugins.router.profiles import Profiles
from sentinella_plugins.router.request import Request
from sentinella_plugins.router.rules import bars, wishes

Broken = Callable[[str], bool]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Weighed:
    """Arrays are of shape (M,), in the order of the lineup. `foreseen` are the tokens of an answer as they
    were predicted, `tokens` as experience corrects that."""

    lineup: Lineup
    objective: Objective
    weights: Weights
    bounds: Bounds
    slate: Slate
    predicted: Floats
    success: Floats
    foreseen: Floats
    tokens: Floats
    verdict: Verdict

    def foreseen_of(self, model: str) -> float:
        """By the name under which it answers; 0 for one that was not weighed."""
        answers = self.lineup.answers
        return float(self.foreseen[answers.index(model)]) if model in answers else 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Decided:
    """What the router keeps of a call, no text of it; without `weighed` the client named the model. `encoded`
    tells whether the meaning of the question was known or its structure only."""

    request: Request
    features: Features | None = None
    weighed: Weighed | None = None
    arm: Arm | None = None
    encoded: bool = False


class Scales:
    def __init__(
        self,
        config: RouterConfig,
        lineups: Lineups,
        predictor: Predictor,
        live: Live,
        profiles: Profiles,
        broken: Broken,
    ) -> None:
        self._config = config
        self._lineups = lineups
        self._predictor = predictor
        self._live = live
        self._profiles = profiles
        self._broken = broken

    def weigh(
        self,
        call: Call,
        request: Request,
        features: Features,
        policy: Policy,
        *,
        objective: Objective,
        budget_usd: float | None = None,
    ) -> Weighed:
        lineup = self._lineups.of(call.route)
        barred = bars(lineup, policy, wishes(policy, call.options.routing), request)
        prediction = self._predictor.predict(features, self._profiles.of(call.principal.tenant, lineup))
        lately = self._live.columns(lineup.answers, features.task)
        foreseen = _at_most(prediction.completion_tokens, request)
        tokens = _at_most(prediction.completion_tokens * lately.stretch, request)
        slate = Slate(
            barred=barred,
            quality=np.asarray(prediction.quality, dtype=np.float64) * lately.success,
            spread=np.asarray(prediction.spread, dtype=np.float64),
            cost_usd=request.prompt_tokens * lineup.input_usd
            + tokens * request.choices * _free(lineup.output_usd, lineup.input_usd),
            latency_ms=lately.first_ms + (0.0 if call.stream else 1.0) * lately.token_ms * tokens,
            room=lineup.window - request.prompt_tokens - tokens,
            deprecated=lineup.deprecated,
            broken=np.array([self._broken(name) for name in lineup.names], dtype=bool),
            order=lineup.order,
        )
        bounds = Bounds.of(call.options.routing, budget_usd)
        weights = self._config.weights(objective)
        return Weighed(
            lineup=lineup,
            objective=objective,
            weights=weights,
            bounds=bounds,
            slate=slate,
            predicted=np.asarray(prediction.quality, dtype=np.float64),
            success=lately.success,
            foreseen=foreseen,
            tokens=tokens,
            verdict=decide(slate, bounds, weights),
        )


def _at_most(tokens: NDArray[np.floating], request: Request) -> Floats:
    return np.asarray(np.minimum(tokens, request.output_tokens or np.inf), dtype=np.float64)


def _free(output_usd: Floats, input_usd: Floats) -> Floats:
    """Without a price for answers only (embeddings), answers cost nothing."""
    return np.where(np.isnan(output_usd) & ~np.isnan(input_usd), 0.0, output_usd)
