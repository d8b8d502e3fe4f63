"""A decision in words and numbers, for those who ask why."""

from __future__ import annotations

import math
from collections.abc import Mapping

from sentinella_plugins.kernel.call import Call, Choice, Outcome
from sentinella_plugins.kernel.money import usd_float
from sentinella_plugins.router.decision import Bounds
from sentinella_plugins.router.rules import NOT_ALLOWED
from sentinella_plugins.router.weighing import Decided, Weighed

_FIELDS = ("max_cost_usd", "max_latency_ms", "min_quality", "budget_usd")


def document(call: Call, decided: Decided, choice: Choice, predictor: str) -> dict[str, object]:
    """The whole explanation of a call. Models that it may not use are not in it."""
    weighed, request = decided.weighed, decided.request
    features = decided.features
    return {
        "object": "router.decision",
        "request_id": call.id,
        "tenant": call.principal.tenant,
        "at": int(call.received_at),
        "route": call.route,
        "requested": call.requested or None,
        "model": choice.model,
        "reason": choice.reason,
        "predictor": predictor,
        "decision_ms": round(choice.ms, 3),
        "features": {
            "task": features.task if features else None,
            "complexity": _round(features.complexity) if features else None,
            "language": features.language if features else None,
            "embedded": decided.encoded,
            "characters": request.characters,
            "prompt_tokens": request.prompt_tokens,
            "messages": request.messages,
            "images": request.images,
            "tools": request.tools,
            "needs": sorted(request.needs),
        },
        "objective": weighed.objective if weighed else None,
        "weights": weighed.weights.model_dump() if weighed else None,
        "bounds": _bounds(weighed.bounds) if weighed else {},
        "experiment": _experiment(decided),
        "candidates": candidates(weighed) if weighed else [],
        "outcome": None,
    }


def candidates(weighed: Weighed) -> list[dict[str, object]]:
    """Those that fit, best first; then the others with what excludes them."""
    ranking, excluded = weighed.verdict.ranking, weighed.verdict.excluded
    out = [index for index, code in enumerate(excluded) if code is not None and code != NOT_ALLOWED]
    return [_candidate(weighed, index) for index in (*ranking, *out)]


def outcome(given: Outcome) -> dict[str, object]:
    return {
        "status": given.status,
        "model": given.model,
        "latency_ms": round(given.latency_ms, 1),
        "first_token_ms": None if given.first_token_ms is None else round(given.first_token_ms, 1),
        "completion_tokens": given.usage.completion,
        "cost_usd": usd_float(given.cost),
    }


def _candidate(weighed: Weighed, index: int) -> dict[str, object]:
    slate, card = weighed.slate, weighed.lineup.cards[index]
    cost = float(slate.cost_usd[index])
    return {
        "model": card.name,
        "provider": card.provider,
        "excluded": weighed.verdict.excluded[index],
        "utility": _round(weighed.verdict.utility[index]),
        "quality": _round(slate.quality[index]),
        "predicted_quality": _round(weighed.predicted[index]),
        "spread": _round(slate.spread[index]),
        "success_rate": _round(weighed.success[index]),
        "cost_usd": None if math.isnan(cost) else round(cost, 9),
        "latency_ms": round(float(slate.latency_ms[index]), 1),
        "completion_tokens": round(float(weighed.tokens[index])),
    }


def _bounds(bounds: Bounds) -> Mapping[str, object]:
    given = {name: getattr(bounds, name) for name in _FIELDS}
    return {name: value for name, value in given.items() if value is not None}


def _experiment(decided: Decided) -> dict[str, object] | None:
    arm = decided.arm
    return None if arm is None else {"name": arm.experiment, "key": arm.key, "arm": arm.name}


def _round(value: float) -> float:
    return round(float(value), 4)
