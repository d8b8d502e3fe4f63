"""Who takes part, and what the sequential test says of differences that are there or not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from sentinella_plugins.router.config import ExperimentConfig, Metric
from sentinella_plugins.router.experiments import (
    LEAST,
    assign,
    compare,
    key_of,
    measured,
    taking_part,
)
from sentinella_plugins.router.models import Tally
from sentinella_plugins.router.tallies import Tallies

Draw = Callable[[np.random.Generator, int], np.ndarray]
CANARY = ExperimentConfig(name="canary", model="new", share=0.1, tenants=("acme", "b*"))


def chance_of(p: float) -> Draw:
    return lambda random, size: (random.random(size) < p).astype(float)


def amounts(median: float) -> Draw:
    return lambda random, size: np.log(random.lognormal(np.log(median), 1.0, size))


def tally(side: np.ndarray, number: int) -> Tally:
    return Tally(number, float(side[:number].sum()), float((side[:number] ** 2).sum()))


def found_real(control: Draw, treatment: Draw, metric: Metric, *, seed: int, most: int = 2_000) -> int | None:
    """Looks after every 25 samples of each side; when it first says that the difference is real."""
    random = np.random.default_rng(seed)
    one, other = control(random, most), treatment(random, most)
    for number in range(25, most + 1, 25):
        if compare(tally(one, number), tally(other, number), metric, 0.05).real:
            return number
    return None


@pytest.mark.parametrize(
    ("draw", "metric"),
    [
        (chance_of(0.5), "success"),
        (chance_of(0.9), "success"),
        (chance_of(0.99), "success"),
        (amounts(0.01), "cost"),
        (amounts(900.0), "latency"),
    ],
)
def test_a_difference_that_is_none_is_seldom_called_real_however_often_one_looks(
    draw: Draw, metric: Metric
) -> None:
    runs = 300
    wrong = sum(found_real(draw, draw, metric, seed=seed) is not None for seed in range(runs))
    assert wrong / runs <= 0.05


@pytest.mark.parametrize(
    ("control", "treatment", "metric"),
    [
        (chance_of(0.9), chance_of(0.8), "success"),
        (chance_of(0.99), chance_of(0.9), "success"),
        (amounts(0.01), amounts(0.006), "cost"),
    ],
)
def test_a_difference_that_is_there_is_found(control: Draw, treatment: Draw, metric: Metric) -> None:
    found = [found_real(control, treatment, metric, seed=seed) for seed in range(40)]
    assert sum(one is not None for one in found) >= 36


def test_the_interval_holds_the_truth_at_every_look() -> None:
    random, missed = np.random.default_rng(3), 0
    for _ in range(100):
        one, other = chance_of(0.8)(random, 1_000), chance_of(0.7)(random, 1_000)
        looks = [
            compare(
                *(Tally(n, float(side[:n].sum()), float(side[:n].sum())) for side in (one, other)),
                "success",
                0.05,
            )
            for n in range(100, 1_001, 100)
        ]
        missed += any(not (look.low or 0) <= -0.1 <= (look.high or 0) for look in looks)
    assert missed <= 5


def test_few_samples_say_nothing() -> None:
    few = Tally(LEAST - 1, 0.0, 0.0)
    result = compare(few, Tally(1_000, 1_000.0, 1_000.0), "success", 0.05)
    assert (result.real, result.p, result.difference) == (False, 1.0, None)


def test_cost_is_compared_as_a_share() -> None:
    logs = measured("cost", 0.02), measured("cost", 0.03)
    sides = [Tally(500, 500 * log, 500 * log * log + 50) for log in logs]
    assert compare(sides[0], sides[1], "cost", 0.05).difference == pytest.approx(0.5)
    assert measured("cost", 0.0) < measured("cost", 1e-8) < 0


def test_a_conversation_stays_on_its_side_and_the_share_is_kept() -> None:
    sides = {unit: assign(CANARY, unit).treated for unit in map(str, range(5_000))}
    assert 0.08 < sum(sides.values()) / 5_000 < 0.12
    more = CANARY.model_copy(update={"share": 0.3})
    assert all(assign(more, unit).treated for unit, treated in sides.items() if treated), (
        "a canary only grows"
    )


def test_experiments_are_independent() -> None:
    other = CANARY.model_copy(update={"name": "other", "share": 0.5})
    half = CANARY.model_copy(update={"share": 0.5})
    both = sum(assign(half, str(n)).treated and assign(other, str(n)).treated for n in range(4_000))
    assert 0.22 < both / 4_000 < 0.28


def test_who_takes_part() -> None:
    named = ExperimentConfig(name="swap", replaces="old", model="new")
    both = (CANARY, named)
    assert taking_part(both, "acme", None) is CANARY and taking_part(both, "beta", None) is CANARY
    assert taking_part(both, "zeta", None) is None and taking_part(both, "zeta", "old") is named
    assert taking_part(both, "acme", "gpt") is None


def test_a_changed_experiment_starts_anew_a_grown_one_does_not() -> None:
    assert key_of(CANARY) == key_of(CANARY.model_copy(update={"share": 0.5, "alpha": 0.01}))
    assert key_of(CANARY) != key_of(CANARY.model_copy(update={"model": "newer"}))


@pytest.mark.parametrize(
    "wrong", [{}, {"model": "m", "objective": "best"}, {"replaces": "m", "objective": "best"}]
)
def test_an_experiment_has_one_other_way(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="needs"):
        ExperimentConfig.model_validate({"name": "x", **wrong})


def test_workers_add_up_together() -> None:
    one, other = Tallies(), Tallies()
    key = ("experiment", "x", "control")
    for value in (1.0, 3.0):
        one.add(key, value)
    other.add(key, 5.0)
    total = one.take()[key] + other.take()[key]
    for worker in (one, other):
        worker.adopt({key: total})
        assert worker.get(key) == Tally(3, 9.0, 35.0)
    assert total.mean == 3.0 and total.variance == pytest.approx(4.0)


def test_numbers_that_could_not_be_shared_are_shared_later() -> None:
    tallies, key = Tallies(), ("shadow", "x", "")
    tallies.add(key, 2.0)
    news = tallies.take()
    tallies.give_back(news)
    assert tallies.get(key) == Tally(1, 2.0, 4.0) and tallies.take() == news
