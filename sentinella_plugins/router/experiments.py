"""Who takes part in an experiment, and when its result is real. Pure.

The test may be looked at as often as one likes: a mixture sequential probability ratio test (Robbins 1970;
Johari, Pekelis, Walsh 2017) for the difference of two means, with a normal mixture over possible differences.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

from sentinella_plugins.kernel.access import matches
from sentinella_plugins.router.config import ExperimentConfig, Metric
from sentinella_plugins.router.exploration import chance
from sentinella_plugins.router.models import Arm, Tally

LEAST = 50
"""Samples that each side needs first: before that a variance is a guess."""

_TYPICAL_DIFFERENCE = {"success": 0.05, "feedback": 0.05, "cost": 0.2, "latency": 0.2}
_LOGARITHMIC = ("cost", "latency")
_SMALLEST = 1e-9


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """`difference` is treatment minus control, of cost and latency as a share (0.1: ten percent more); the
    interval holds it with probability 1 - alpha at all times together. `p` is valid at every look."""

    difference: float | None
    low: float | None
    high: float | None
    p: float
    real: bool


def taking_part(
    experiments: Sequence[ExperimentConfig], tenant: str, named: str | None
) -> ExperimentConfig | None:
    """The first that fits; `named` is the model that the client asked for, `None` for none."""
    for experiment in experiments:
        if experiment.replaces == named and matches(experiment.tenants, tenant):
            return experiment
    return None


def assign(experiment: ExperimentConfig, unit: str) -> Arm:
    """The same for the same unit, for ever: a session, or else a request."""
    key = key_of(experiment)
    return Arm(experiment.name, key, chance("experiment", key, unit) < experiment.share)


def key_of(experiment: ExperimentConfig) -> str:
    """Changes with everything that would make old numbers wrong."""
    what = experiment.model_dump_json(exclude={"alpha", "share"})
    return f"{experiment.name}@{blake2b(what.encode(), digest_size=6).hexdigest()}"


def measured(metric: Metric, value: float) -> float:
    """As it is added up: money and time by their logarithm, because few large ones would decide else."""
    return math.log(max(value, _SMALLEST)) if metric in _LOGARITHMIC else value


def compare(control: Tally, treatment: Tally, metric: Metric, alpha: float) -> Comparison:
    if min(control.n, treatment.n) < LEAST:
        return Comparison(difference=None, low=None, high=None, p=1.0, real=False)
    difference = treatment.mean - control.mean
    noise = _variance(control, metric) / control.n + _variance(treatment, metric) / treatment.n
    typical = _TYPICAL_DIFFERENCE[metric] ** 2
    both = noise + typical
    evidence = 0.5 * math.log(noise / both) + typical * difference**2 / (2 * noise * both)
    width = math.sqrt(noise * both / typical * (2 * math.log(1 / alpha) + math.log(both / noise)))
    p = math.exp(-max(0.0, evidence))
    low, middle, high = (_shown(metric, difference + side * width) for side in (-1, 0, 1))
    return Comparison(difference=middle, low=low, high=high, p=p, real=p <= alpha)


def _variance(tally: Tally, metric: Metric) -> float:
    """With one best and one worst answer added where answers lie between 0 and 1: a hundred successes do not
    prove that there are no failures."""
    if metric in _LOGARITHMIC:
        return max(tally.variance, _SMALLEST)
    return (tally + Tally(2, 1.0, 1.0)).variance


def _shown(metric: Metric, difference: float) -> float:
    return math.expm1(min(difference, 700.0)) if metric in _LOGARITHMIC else difference
