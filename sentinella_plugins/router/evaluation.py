"""Compares the router with simpler ones, on prompts whose answers are graded already."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from sentinella_plugins.router.measures import (
    TOLERANCE,
    Point,
    Ranked,
    best_within,
    by_rank,
    by_weight,
    cheapest,
    ranked,
)
from sentinella_plugins.router.prediction import Features, Predictor, Profile
from sentinella_plugins.router.rows import Encode, Row, matrix
from sentinella_plugins.vectors.models import Encoding

Floats = NDArray[np.float64]
Complexity = Callable[[Sequence[str]], Sequence[float]]
NEIGHBOURS = 40
BUDGETS = (0.05, 0.1, 0.25, 0.5, 1.0)
_TIMED = 300
_TIMED_MODELS = 30
_PARTNER_SHARE = 0.25
_RANDOM_STEPS = 51


class NothingToCompare(ValueError):
    """Two models that all rows have scores of are needed at least: check --strong, --weak and the rows."""


@dataclass(frozen=True, slots=True)
class Report:
    """`public` is what is printed as JSON; `curves` are points by policy, where costs are known."""

    public: Mapping[str, Mapping[str, float | None]]
    curves: Mapping[str, Sequence[Point]]


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    rows: Sequence[Row]
    encodings: Sequence[Encoding]
    features: Sequence[Features]
    scores: Floats
    costs: Floats | None

    @property
    def vectors(self) -> Floats:
        return np.array([one.vector for one in self.encodings], dtype=np.float64)


class Evaluation:
    """All of it blocks. Without `strong` and `weak`, the best model and the best cheap one are the pair."""

    def __init__(
        self,
        rows: Sequence[Row],
        predictor: Predictor,
        encode: Encode,
        *,
        calibrate: Sequence[Row] = (),
        strong: str | None = None,
        weak: str | None = None,
        complexity: Complexity | None = None,
    ) -> None:
        self._predictor = predictor
        self._complexity = complexity
        self.models = _shared(rows, strong, weak)
        self._rows = self._part(rows, encode)
        known = [row for row in calibrate if all(model in row.scores for model in self.models)]
        self._known = self._part(known, encode) if known else None
        basis = self._known or self._rows
        self._price = None if basis.costs is None else basis.costs.mean(0)
        self._strong, self._weak = self._pair(basis, strong, weak)
        self._profiles = [self._profile(index) for index in range(len(self.models))]

    def report(self) -> Report:
        predicted = self._predict(self._rows)
        near = None if self._known is None else _nearest(self._known, self._rows.vectors)
        public: dict[str, Mapping[str, float | None]] = {}
        curves: dict[str, Sequence[Point]] = {}
        for name, quality in (("sentinella", predicted), ("knn", near)):
            public[name], curves[name] = self._of_quality(quality)
        texts = [row.prompt for row in self._rows.rows]
        lengths = np.array([len(text) for text in texts], dtype=float)
        public["length"], curves["length"] = self._of_order(lengths)
        said = None if self._complexity is None else np.asarray(self._complexity(texts), dtype=float)
        public["litellm_complexity"], curves["litellm_complexity"] = self._of_order(said)
        public["random"], curves["random"] = self._random()
        public["best_single"], public["oracle"] = self._best_single(), self._oracle()
        public["decision_ms"] = self._timing()
        return Report(public, {name: points for name, points in curves.items() if points})

    def within_budgets(self, report: Report) -> Mapping[str, list[float | None]]:
        """Best quality at shares of the best single model's cost, by policy."""
        whole = report.public["best_single"]["cost_usd"] or 0.0
        return {
            name: [best_within(points, share * whole) for share in BUDGETS]
            for name, points in report.curves.items()
        }

    def _part(self, rows: Sequence[Row], encode: Encode) -> _Part:
        encodings = [encode([row.prompt])[0] for row in rows]
        costs = matrix(rows, self.models, "costs")
        return _Part(
            rows=rows,
            encodings=encodings,
            features=[
                self._predictor.features(row.prompt, one) for row, one in zip(rows, encodings, strict=True)
            ],
            scores=matrix(rows, self.models),
            costs=costs if np.isfinite(costs).all() else None,
        )

    def _pair(self, basis: _Part, strong: str | None, weak: str | None) -> tuple[int, int]:
        """As named; else the best model, and the best of those at a quarter of its price."""
        quality = basis.scores.mean(0)
        best = self.models.index(strong) if strong else int(quality.argmax())
        if weak:
            return best, self.models.index(weak)
        others = [index for index in range(len(self.models)) if index != best]
        if self._price is not None:
            cheap = [one for one in others if self._price[one] <= _PARTNER_SHARE * self._price[best]]
            others = cheap or others
        return best, max(others, key=lambda index: float(quality[index]))

    def _profile(self, index: int) -> Profile:
        price = None if self._price is None else float(self._price[index]) * 1e3
        prior = self._predictor.profile(self.models[index], "", price, price, None, ())
        if self._known is None:
            return prior
        return self._predictor.fit_profile(self._known.features, self._known.scores[:, index].tolist(), prior)

    def _predict(self, part: _Part) -> Floats:
        return np.array([self._predictor.predict(one, self._profiles).quality for one in part.features])

    def _of_quality(self, quality: Floats | None) -> tuple[dict[str, float | None], Sequence[Point]]:
        if quality is None:
            return _measures(), ()
        gains = ranked(self._gain(), quality[:, self._strong] - quality[:, self._weak])
        costs = self._rows.costs
        if costs is None or self._price is None:
            return _measures(gains, quality=self._half(quality[:, self._strong] - quality[:, self._weak])), ()
        points = by_weight(quality, self._price, self._rows.scores, costs)
        chosen = self._foreseen(quality)
        rows = np.arange(len(quality))
        return (
            _measures(
                gains,
                quality=float(self._rows.scores[rows, chosen].mean()),
                cost=float(costs[rows, chosen].mean()),
                near_best=self._near_best(points),
            ),
            points,
        )

    def _foreseen(self, quality: Floats) -> NDArray[np.int64]:
        """The cheapest choices that are foreseen to be as good as the best single model, less 0.5 points."""
        assert self._price is not None  # noqa: S101  # the caller has looked
        wanted = float(quality.mean(0).max()) - TOLERANCE
        best = quality.argmax(1)
        for weight in np.geomspace(1e3, 1e-3, 241) / max(float(self._price.max()), 1e-12):
            chosen = (quality - weight * self._price).argmax(1)
            if float(quality[np.arange(len(quality)), chosen].mean()) >= wanted:
                return np.asarray(chosen)
        return np.asarray(best)

    def _of_order(self, order: Floats | None) -> tuple[dict[str, float | None], Sequence[Point]]:
        if order is None:
            return _measures(), ()
        gains = ranked(self._gain(), order)
        if self._rows.costs is None:
            return _measures(gains, quality=self._half(order)), ()
        points = by_rank(order, self._strong, self._weak, self._rows.scores, self._rows.costs)
        half = points[len(points) // 2]
        return _measures(gains, half.quality, half.cost, self._near_best(points)), points

    def _random(self) -> tuple[dict[str, float | None], Sequence[Point]]:
        """A mixture of the strong and the weak model, as it is on average."""
        scores, costs = self._rows.scores.mean(0), self._rows.costs
        quality = float(scores[[self._strong, self._weak]].mean())
        gains = Ranked(0.5, 0.5, 0.8)
        if costs is None:
            return _measures(gains, quality=quality), ()
        price = costs.mean(0)
        shares = np.linspace(0, 1, _RANDOM_STEPS)
        points = [
            Point(
                float(share * price[self._strong] + (1 - share) * price[self._weak]),
                float(share * scores[self._strong] + (1 - share) * scores[self._weak]),
            )
            for share in shares
        ]
        half = points[len(points) // 2]
        return _measures(gains, quality, half.cost, self._near_best(points)), points

    def _best_single(self) -> dict[str, float | None]:
        scores, costs = self._rows.scores.mean(0), self._rows.costs
        best = int(scores.argmax())
        if costs is None:
            return _measures(quality=float(scores[best]))
        price = costs.mean(0)
        points = [Point(float(c), float(q)) for c, q in zip(price, scores, strict=True)]
        return _measures(
            quality=float(scores[best]), cost=float(price[best]), near_best=self._near_best(points)
        )

    def _oracle(self) -> dict[str, float | None]:
        """It knows all scores, and takes the cheapest of the best."""
        scores, costs = self._rows.scores, self._rows.costs
        gains = ranked(self._gain(), self._gain())
        if costs is None:
            return _measures(gains, quality=float(scores.max(1).mean()))
        points = by_weight(scores, costs.mean(0), scores, costs)
        chosen = np.where(scores >= scores.max(1, keepdims=True), costs, np.inf).argmin(1)
        cost = float(costs[np.arange(len(costs)), chosen].mean())
        return _measures(gains, float(scores.max(1).mean()), cost, self._near_best(points))

    def _near_best(self, points: Sequence[Point]) -> float | None:
        return cheapest(points, float(self._rows.scores.mean(0).max()) - TOLERANCE)

    def _gain(self) -> Floats:
        return np.asarray(self._rows.scores[:, self._strong] - self._rows.scores[:, self._weak])

    def _half(self, order: Floats) -> float:
        points = by_rank(order, self._strong, self._weak, self._rows.scores, np.zeros_like(self._rows.scores))
        return points[len(points) // 2].quality

    def _timing(self) -> dict[str, float | None]:
        """Features, predictions for 30 models and the choice, milliseconds."""
        profiles = (self._profiles * _TIMED_MODELS)[:_TIMED_MODELS]
        took = []
        pairs = list(zip(self._rows.rows, self._rows.encodings, strict=True))[:_TIMED]
        for row, encoding in pairs:
            begun = time.perf_counter()
            features = self._predictor.features(row.prompt, encoding)
            self._predictor.predict(features, profiles).quality.argmax()
            took.append((time.perf_counter() - begun) * 1e3)
        return {"p50": float(np.quantile(took, 0.5)), "p99": float(np.quantile(took, 0.99))}


def _shared(rows: Sequence[Row], strong: str | None, weak: str | None) -> list[str]:
    models = sorted(set.intersection(*(set(row.scores) for row in rows))) if rows else []
    named = [name for name in (strong, weak) if name]
    if len(models) < 2 or any(name not in models for name in named):
        raise NothingToCompare(NothingToCompare.__doc__)
    return models if len(named) < 2 else sorted(named)


def _nearest(known: _Part, vectors: Floats) -> Floats:
    """Mean scores of the nearest rows that were graded."""
    count = min(NEIGHBOURS, len(known.rows))
    alike = vectors @ known.vectors.T
    nearest = np.argpartition(-alike, count - 1, axis=1)[:, :count]
    return np.asarray(known.scores[nearest].mean(1))


def _measures(
    gains: Ranked | None = None,
    quality: float | None = None,
    cost: float | None = None,
    near_best: float | None = None,
) -> dict[str, float | None]:
    told: dict[str, float | None] = asdict(gains or Ranked(None, None, None))
    return {**told, "quality": quality, "cost_usd": cost, "cost_at_best_minus_0.5": near_best}
