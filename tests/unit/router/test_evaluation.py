"""Measures of known routers, and the comparison that the command prints."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from sentinella_plugins.cli.router import app
from sentinella_plugins.router.evaluation import Evaluation, NothingToCompare
from sentinella_plugins.router.measures import Point, best_within, by_rank, by_weight, cheapest, ranked
from sentinella_plugins.router.prediction import Predictor
from sentinella_plugins.router.rows import Row
from tests.unit.router.test_training import encode, planted, written

FIELDS = {"apgr", "cpt50", "cpt80", "quality", "cost_usd", "cost_at_best_minus_0.5"}
ROUTERS = {"sentinella", "random", "length", "knn", "best_single", "oracle", "litellm_complexity"}


def test_a_perfect_order_and_its_reverse() -> None:
    gain = np.array([1.0] * 25 + [0.0] * 75)
    best = ranked(gain, gain)
    worst = ranked(gain, -gain)
    assert best.apgr == pytest.approx(0.875)
    assert worst.apgr == pytest.approx(0.125)
    assert best.cpt50 == pytest.approx(0.13)
    assert worst.cpt80 == pytest.approx(0.95)


def test_an_order_that_says_nothing_is_worth_one_half() -> None:
    gain = np.array([1.0, 0.0] * 5_000)
    assert ranked(gain, np.zeros(10_000)).apgr == pytest.approx(0.5, abs=0.01)
    assert ranked(gain, np.arange(10_000.0)).apgr == pytest.approx(0.5, abs=0.001)


def test_without_a_gap_there_is_nothing_to_recover() -> None:
    assert ranked(np.zeros(4), np.arange(4.0)).apgr is None
    assert ranked(np.zeros(0), np.zeros(0)).cpt50 is None


def test_curves() -> None:
    scores, costs = np.array([[1.0, 1.0], [1.0, 0.0]]), np.array([[10.0, 1.0], [10.0, 1.0]])
    points = by_weight(scores, costs.mean(0), scores, costs)
    assert points == [Point(1.0, 0.5), Point(5.5, 1.0), Point(10.0, 1.0)]
    assert by_rank(np.array([0.0, 1.0]), 0, 1, scores, costs) == [Point(1, 0.5), Point(5.5, 1), Point(10, 1)]
    assert cheapest(points, 1.0) == 5.5 and cheapest(points, 1.1) is None
    assert best_within(points, 5.0) == 0.5 and best_within(points, 0.5) is None


def rows(costs: bool) -> list[Row]:
    prices = {"small-1b": 0.001, "middle-8b": 0.002, "large-70b": 0.05}
    return [Row("t", str(row["prompt"]), row["scores"], prices if costs else {}) for row in planted(200)]  # type: ignore[arg-type]


def test_many_models_with_costs() -> None:
    def known(texts: Sequence[str]) -> list[float]:
        return [float("theorems" in text) for text in texts]

    every = rows(costs=True)
    evaluation = Evaluation(every[100:], Predictor.load(), encode, calibrate=every[:100], complexity=known)
    report = evaluation.report()
    assert set(report.public) == ROUTERS | {"decision_ms"}
    assert all(set(report.public[name]) == FIELDS for name in ROUTERS)
    ours, best, oracle = (report.public[name] for name in ("sentinella", "best_single", "oracle"))
    assert ours["apgr"] is not None and ours["apgr"] > 0.6
    assert ours["quality"] is not None and oracle["quality"] is not None
    assert oracle["quality"] > ours["quality"] > 0.5
    assert best["cost_usd"] == pytest.approx(0.05)
    assert report.public["litellm_complexity"]["apgr"] > 0.6  # type: ignore[operator]
    budgets = evaluation.within_budgets(report)
    assert all(len(points) == 5 for points in budgets.values()) and "knn" in budgets


def test_two_models_without_costs_and_nothing_graded() -> None:
    report = Evaluation(
        rows(costs=False), Predictor.load(), encode, strong="large-70b", weak="small-1b"
    ).report()
    assert set(report.public["knn"].values()) == set(report.public["litellm_complexity"].values()) == {None}
    assert report.public["random"]["apgr"] == 0.5
    assert report.public["sentinella"]["cost_usd"] is None and not report.curves
    assert 0 < report.public["sentinella"]["apgr"] < report.public["oracle"]["apgr"]  # type: ignore[operator]


def test_models_that_the_rows_lack_are_refused() -> None:
    with pytest.raises(NothingToCompare):
        Evaluation(rows(costs=False), Predictor.load(), encode, strong="large-70b", weak="unheard-of")
    with pytest.raises(NothingToCompare):
        Evaluation([], Predictor.load(), encode)


def test_the_commands(tmp_path: Path) -> None:
    file = str(written(tmp_path / "rows.jsonl.gz", planted(44)))
    run = CliRunner().invoke
    trained = run(app, ["train", "--data", file, "--out", str(tmp_path / "out")])
    assert trained.exit_code == 0, trained.output
    told = [
        "evaluate",
        "--data",
        file,
        "--artefact",
        str(tmp_path / "out"),
        "--out",
        str(tmp_path / "told.json"),
    ]
    shown = run(app, [*told, "--strong", "large-70b", "--weak", "small-1b", "--json"])
    assert shown.exit_code == 0, shown.output
    found = json.loads(shown.stdout)
    assert set(found) == ROUTERS | {"decision_ms"}
    assert found["litellm_complexity"]["apgr"] is not None
    assert json.loads((tmp_path / "told.json").read_text()) == found
    table = run(app, [*told, "--calibrate", file])
    assert table.exit_code == 0 and "sentinella" in table.stdout, table.output
    refused = run(app, [*told, "--strong", "nobody"])
    assert refused.exit_code != 0 and "--strong" in refused.output
