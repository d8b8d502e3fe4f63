"""The comparison over many random halves of graded rows: one half calibrates, the other is judged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sentinella_plugins.router.evaluation import BUDGETS, Complexity, Evaluation, Report
from sentinella_plugins.router.measures import best_within
from sentinella_plugins.router.prediction import Predictor
from sentinella_plugins.router.rows import Encode, Row, matrix
from sentinella_plugins.vectors.models import Encoding

SPLITS = 20
_NEAR_BEST = "cost_at_best_minus_0.5"
Measures = Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class Halved:
    """`public` are means over `reports`, by router, of what there is. `shares`: what it costs to come within
    half a point of the best single model, as a share of that model's cost, one for each split; 1 where a
    router never does. `budgets` are the best qualities at `BUDGETS` of the cost of the best single model of
    all rows."""

    public: Mapping[str, Measures]
    budgets: Mapping[str, Sequence[float | None]]
    shares: Mapping[str, Sequence[float]]
    reports: Sequence[Report]


def halved(
    rows: Sequence[Row],
    predictor: Predictor,
    encode: Encode,
    *,
    splits: int = SPLITS,
    complexity: Complexity | None = None,
) -> Halved:
    """Of rows with costs. It blocks."""
    known, reports = remembering(encode), []
    for calibrate, judged in halves(len(rows), splits):
        evaluation = Evaluation(
            [rows[index] for index in judged],
            predictor,
            known,
            calibrate=[rows[index] for index in calibrate],
            complexity=complexity,
        )
        reports.append(evaluation.report())
    whole = _cost_of_best(rows)
    routers = [name for name in reports[0].public if name != "decision_ms"]
    return Halved(
        public={
            name: _means([report.public[name] for report in reports]) for name in (*routers, "decision_ms")
        },
        budgets={
            name: [
                _mean([best_within(report.curves[name], share * whole) for report in reports])
                for share in BUDGETS
            ]
            for name in reports[0].curves
        },
        shares={name: [_share(report, name) for report in reports] for name in routers},
        reports=reports,
    )


def halves(count: int, splits: int) -> Iterator[tuple[list[int], list[int]]]:
    """The same ones every time."""
    for seed in range(splits):
        order = np.random.default_rng(seed).permutation(count).tolist()
        yield sorted(order[: count // 2]), sorted(order[count // 2 :])


def remembering(encode: Encode) -> Encode:
    """Encodes a text once."""
    known: dict[str, Encoding] = {}

    def encoded(texts: Sequence[str]) -> list[Encoding]:
        new = [text for text in dict.fromkeys(texts) if text not in known]
        known.update(zip(new, encode(new), strict=True))
        return [known[text] for text in texts]

    return encoded


def _cost_of_best(rows: Sequence[Row]) -> float:
    models = sorted(set.intersection(*(set(row.scores) for row in rows)))
    best = int(matrix(rows, models).mean(0).argmax())
    return float(matrix(rows, models, "costs").mean(0)[best])


def _share(report: Report, router: str) -> float:
    whole, needed = report.public["best_single"]["cost_usd"], report.public[router][_NEAR_BEST]
    return 1.0 if needed is None or not whole else min(1.0, needed / whole)


def _means(measures: Sequence[Measures]) -> Measures:
    return {name: _mean([one[name] for one in measures]) for name in measures[0]}


def _mean(values: Sequence[float | None]) -> float | None:
    """Of those that there are."""
    found = [value for value in values if value is not None]
    return float(np.mean(found)) if found else None
