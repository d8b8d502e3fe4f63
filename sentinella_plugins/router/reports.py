"""What the router learned, in numbers."""

from __future__ import annotations

from sentinella_plugins.router.config import RouterConfig
from sentinella_plugins.router.experiments import compare, key_of
from sentinella_plugins.router.learning import ANSWERS, CALLS, COST, LENGTH, Live
from sentinella_plugins.router.models import Floats
from sentinella_plugins.router.shadow import SPENT
from sentinella_plugins.router.tallies import Tallies


def models(live: Live, *, volumes: bool) -> list[dict[str, object]]:
    """One line for each model and task that was seen; `*` is all tasks. Without `volumes` nothing tells how
    much others use."""
    return [_line(live, model, task, sums if volumes else None) for model, task, sums in live.entries()]


def experiments(config: RouterConfig, tallies: Tallies) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for experiment in config.experiments:
        key = key_of(experiment)
        control = tallies.get(("experiment", key, "control"))
        treatment = tallies.get(("experiment", key, "treatment"))
        result = compare(control, treatment, experiment.metric, experiment.alpha)
        found.append(
            {
                "name": experiment.name,
                "key": key,
                "metric": experiment.metric,
                "share": experiment.share,
                "model": experiment.model,
                "objective": experiment.objective,
                "control": control.n,
                "treatment": treatment.n,
                "difference": _round(result.difference),
                "low": _round(result.low),
                "high": _round(result.high),
                "p": _round(result.p),
                "real": result.real,
            }
        )
    return found


def shadows(tallies: Tallies) -> list[dict[str, object]]:
    """Agreement of the second model with the one that answered, 0..1."""
    rows: list[dict[str, object]] = []
    for kind, name, arm in tallies.known():
        if kind == "shadow" and name != SPENT:
            tally, (answered, _, second) = tallies.get((kind, name, arm)), name.partition("|")
            rows.append(
                {
                    "model": answered,
                    "shadow": second,
                    "task": arm or None,
                    "compared": tally.n,
                    "agreement": _round(tally.mean),
                }
            )
    return rows


def _line(live: Live, model: str, task: str, sums: Floats | None) -> dict[str, object]:
    columns = live.columns((model,), task)
    line: dict[str, object] = {
        "model": model,
        "task": task,
        "success_rate": _round(float(columns.success[0])),
        "first_token_ms": _round(float(columns.first_ms[0])),
        "token_ms": _round(float(columns.token_ms[0])),
    }
    if sums is not None:
        answers = float(sums[ANSWERS])
        line["calls"] = _round(float(sums[CALLS]))
        line["completion_tokens"] = _round(float(sums[LENGTH]) / answers) if answers else None
        line["cost_usd"] = round(float(sums[COST]) / answers, 9) if answers else None
    return line


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
