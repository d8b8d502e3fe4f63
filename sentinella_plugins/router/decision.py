"""The best model by predicted quality, cost and latency, within bounds. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sentinella_plugins.kernel.call import Json
from sentinella_plugins.router.config import Weights
from sentinella_plugins.router.models import Floats

Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """What a call must keep to; `None` is no bound. `budget_usd` is what its tenant may still spend."""

    max_cost_usd: float | None = None
    max_latency_ms: float | None = None
    min_quality: float | None = None
    budget_usd: float | None = None

    @classmethod
    def of(cls, routing: Json, budget_usd: float | None) -> Bounds:
        return cls(
            max_cost_usd=_number(routing, "max_cost_usd"),
            max_latency_ms=_number(routing, "max_latency_ms"),
            min_quality=_number(routing, "min_quality"),
            budget_usd=budget_usd,
        )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Slate:
    """What is known of M models for one call, every array of shape (M,).

    `barred` holds the reasons of those that are out already. `quality` is the chance of a good answer,
    `spread` its standard deviation; `cost_usd` of this call is nan where a price is unknown; `room` is what
    the context window leaves after prompt and answer; `order` breaks ties.
    """

    barred: Sequence[str | None]
    quality: Floats
    spread: Floats
    cost_usd: Floats
    latency_ms: Floats
    room: Floats
    deprecated: Mask
    broken: Mask
    order: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Verdict:
    """`ranking` are the indexes of the models that fit, best first; `excluded` holds a code for every other.
    `utility` is there for all."""

    ranking: tuple[int, ...]
    excluded: tuple[str | None, ...]
    utility: Floats


def decide(slate: Slate, bounds: Bounds, weights: Weights) -> Verdict:
    """Utility = quality - weight * cost (USD) - weight * latency (s). What is on budget, healthy and current
    goes before what is not; all other bounds are hard."""
    cost = known_cost(slate.cost_usd)
    codes = list(slate.barred)
    alive = np.array([code is None for code in codes], dtype=bool)
    for mask, code in _hard(slate, bounds):
        alive = _bar(codes, alive, mask, code)
    for mask, code in _soft(slate, bounds, cost):
        if mask.any() and (alive & ~mask).any():
            alive = _bar(codes, alive, mask, code)
    utility = slate.quality - weights.cost * cost - weights.latency / 1000 * slate.latency_ms
    left = np.flatnonzero(alive)
    best_first = left[np.lexsort((slate.order[left], cost[left], -utility[left]))]
    return Verdict(tuple(best_first.tolist()), tuple(codes), utility)


def known_cost(cost_usd: Floats) -> Floats:
    """An unknown price counts like the dearest known one."""
    unknown = np.isnan(cost_usd)
    if not unknown.any():
        return cost_usd
    return np.where(unknown, 0.0 if unknown.all() else np.nanmax(cost_usd), cost_usd)


def _hard(slate: Slate, bounds: Bounds) -> list[tuple[Mask, str]]:
    found: list[tuple[Mask, str]] = [(slate.room < 0, "context_too_small")]
    if bounds.max_cost_usd is not None:
        found.append((np.isnan(slate.cost_usd), "price_unknown"))
        found.append((slate.cost_usd > bounds.max_cost_usd, "too_costly"))
    if bounds.max_latency_ms is not None:
        found.append((slate.latency_ms > bounds.max_latency_ms, "too_slow"))
    if bounds.min_quality is not None:
        found.append((slate.quality < bounds.min_quality, "quality_too_low"))
    return found


def _soft(slate: Slate, bounds: Bounds, cost: Floats) -> list[tuple[Mask, str]]:
    found: list[tuple[Mask, str]] = [(slate.broken, "breaker_open"), (slate.deprecated, "deprecated")]
    if bounds.budget_usd is not None:
        found.insert(0, (cost > bounds.budget_usd, "over_budget"))
    return found


def _bar(codes: list[str | None], alive: Mask, mask: Mask, code: str) -> Mask:
    for index in np.flatnonzero(alive & mask).tolist():
        codes[index] = code
    return alive & ~mask


def _number(routing: Json, name: str) -> float | None:
    value = routing.get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
