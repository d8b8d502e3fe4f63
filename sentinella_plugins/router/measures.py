"""Measures of a router: how much quality which share of calls, or which cost, buys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
TOLERANCE = 0.005
_TIES_SEED = 0


@dataclass(frozen=True, slots=True)
class Ranked:
    """`apgr`: area between accuracy over the share of strong calls and the weak model's line, divided by
    strong minus weak. `cpt50`, `cpt80`: the smallest share that recovers as much of the gap."""

    apgr: float | None
    cpt50: float | None
    cpt80: float | None


@dataclass(frozen=True, slots=True)
class Point:
    cost: float
    quality: float


def ranked(gain: Floats, order: Floats) -> Ranked:
    """`gain` (n,) is strong minus weak, `order` (n,) what is sent to the strong model first."""
    total = float(gain.sum())
    if len(gain) == 0 or total <= 0:
        return Ranked(None, None, None)
    recovered = np.concatenate([[0.0], np.cumsum(gain[first_to_last(order)])]) / total
    area = float(((recovered[1:] + recovered[:-1]) / 2).mean())
    return Ranked(area, _share(recovered, 0.5), _share(recovered, 0.8))


def first_to_last(order: Floats) -> NDArray[np.int64]:
    """Ties in an order that has nothing to do with the rows."""
    shuffled = np.random.default_rng(_TIES_SEED).permutation(len(order))
    return np.asarray(shuffled[np.argsort(-order[shuffled], kind="stable")])


def by_weight(quality: Floats, price: Floats, scores: Floats, costs: Floats) -> list[Point]:
    """Choosing the highest `quality` (n, m) minus a weight times `price` (m,), for many weights; cheapest
    first."""
    weights = np.concatenate([[0.0], np.geomspace(1e-3, 1e3, 241) / max(float(price.max()), 1e-12)])
    rows = np.arange(len(scores))
    chosen = [(quality - weight * price).argmax(1) for weight in weights]
    points = {(float(costs[rows, one].mean()), float(scores[rows, one].mean())) for one in chosen}
    return [Point(*point) for point in sorted(points)]


def by_rank(order: Floats, strong: int, weak: int, scores: Floats, costs: Floats) -> list[Point]:
    """Sending growing shares to the strong model."""
    first = first_to_last(order)

    def summed(values: Floats) -> Floats:
        gain = (values[:, strong] - values[:, weak])[first]
        return np.asarray((values[:, weak].sum() + np.concatenate([[0.0], np.cumsum(gain)])) / len(values))

    return [Point(float(c), float(q)) for c, q in zip(summed(costs), summed(scores), strict=True)]


def cheapest(points: Sequence[Point], quality: float) -> float | None:
    return min((point.cost for point in points if point.quality >= quality - 1e-9), default=None)


def best_within(points: Sequence[Point], cost: float) -> float | None:
    return max((point.quality for point in points if point.cost <= cost * (1 + 1e-9)), default=None)


def _share(recovered: Floats, wanted: float) -> float:
    return float(np.argmax(recovered >= wanted - 1e-12)) / (len(recovered) - 1)
