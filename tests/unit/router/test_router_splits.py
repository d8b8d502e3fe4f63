"""The comparison over random halves, on answers that were planted."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from sentinella_plugins.router.prediction import Predictor
from sentinella_plugins.router.rows import Row
from sentinella_plugins.router.splits import halved, halves, remembering
from sentinella_plugins.vectors.models import Encoding
from tests.unit.router.test_training import encode, planted

PRICES = {"small-1b": 0.001, "middle-8b": 0.002, "large-70b": 0.05}


def rows(count: int) -> list[Row]:
    return [Row("t", str(row["prompt"]), row["scores"], PRICES) for row in planted(count)]  # type: ignore[arg-type]


def test_halves_part_the_rows_and_are_the_same_every_time() -> None:
    made = list(halves(21, 3))
    assert all(sorted(some + others) == list(range(21)) for some, others in made)
    assert all((len(some), len(others)) == (10, 11) for some, others in made)
    assert made == list(halves(21, 3)) and made[0] != made[1]


def test_a_text_is_encoded_once() -> None:
    asked: list[str] = []

    def counting(texts: Sequence[str]) -> list[Encoding]:
        asked.extend(texts)
        return encode(texts)

    known = remembering(counting)
    assert [one.text for one in known(["a", "b", "a"])] == ["a", "b", "a"]
    assert [one.text for one in known(["b"])] == ["b"]
    assert asked == ["a", "b"]


def test_means_lie_between_those_of_the_halves() -> None:
    found = halved(rows(160), Predictor.load(), encode, splits=3)
    assert len(found.reports) == 3 and {len(one) for one in found.shares.values()} == {3}
    told = [report.public["sentinella"]["quality"] for report in found.reports]
    mean = found.public["sentinella"]["quality"]
    assert mean is not None and min(told) < mean < max(told)  # type: ignore[type-var]
    assert found.public["litellm_complexity"]["apgr"] is None
    assert found.shares["litellm_complexity"] == [1.0, 1.0, 1.0]
    assert all(0 < share <= 1 for share in found.shares["sentinella"])
    assert max(found.shares["oracle"]) < 0.5
    budgets = found.budgets["sentinella"]
    assert len(budgets) == 5 and budgets == sorted(budgets)  # type: ignore[type-var]
    assert found.public["best_single"]["cost_usd"] == pytest.approx(0.05)
