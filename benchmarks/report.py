"""Samples → one table, and the same as JSON."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from io import StringIO
from statistics import median
from typing import Any, TypedDict

from rich.console import Console
from rich.table import Table

from benchmarks.measure import Plan, Rows
from benchmarks.sides import Readiness

FIGURES: tuple[tuple[str, str, str], ...] = (
    ("miss", "per_s", "≥ 1.2x"),
    ("miss", "p50_ms", ""),
    ("miss", "p99_ms", ""),
    ("miss", "cpu_ms", ""),
    ("miss, alone", "p50_ms", ""),
    ("streamed miss", "per_s", "≥ 1.0x"),
    ("streamed miss", "cpu_ms", ""),
    ("first token", "p50_ms", "≤ +1.5"),
    ("exact hit", "per_s", "≥ 1000"),
    ("exact hit", "p50_ms", ""),
    ("exact hit", "cpu_ms", ""),
    ("exact hit, alone", "p50_ms", "≤ 1.5"),
    ("semantic hit, alone", "p50_ms", "≤ 6"),
    ("semantic hit, alone", "share", ""),
    ("refusal 401", "per_s", "≥ 1500"),
    ("refusal 429", "per_s", "≥ 1500"),
)
_HEADINGS = ("what", "bare", "Sentinella", "no limits", "added", "ratio (least-largest)", "noise", "must")
_UNLIMITED = "sentinella, unlimited"


class Line(TypedDict):
    """Medians. `ratios` are Sentinella's over bare LiteLLM's, one per round, `ratio` their median; `noise` is
    the bare side's largest value over its least."""

    measurement: str
    figure: str
    bare: float
    sentinella: float
    unlimited: float | None
    added: float
    ratio: float | None
    ratios: list[float]
    noise: float | None
    must: str


class Result(TypedDict):
    date: str
    machine: dict[str, float]
    plan: dict[str, float]
    lines: list[Line]
    samples: Any


def collected(
    plan: Plan,
    rows: Rows,
    readiness: Mapping[str, Sequence[Readiness]],
    memory: Mapping[str, float],
    load_before: float,
) -> Result:
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "cores": os.cpu_count() or 0,
            "load_before": round(load_before, 2),
            "load_after": round(os.getloadavg()[0], 2),
        },
        "plan": {"seconds": plan.seconds, "rounds": plan.rounds, "concurrency": plan.concurrency},
        "lines": [
            *(_measured(rows, measurement, figure, must) for measurement, figure, must in FIGURES),
            _single("memory after load", "MiB", [memory["bare"]], [memory["sentinella"]], "≤ +150"),
            *(_start(readiness, field) for field in ("health_s", "chat_s")),
        ],
        "samples": rows,
    }


def table(result: Result) -> str:
    machine, plan = result["machine"], result["plan"]
    title = (
        f"Sentinella and bare LiteLLM, {result['date']}: {machine['cores']} cores, "
        f"load {machine['load_before']} → {machine['load_after']}, "
        f"{plan['rounds']} rounds of {plan['seconds']:g} s, {plan['concurrency']} at once"
    )
    grid = Table(title=title, title_justify="left")
    for heading in _HEADINGS:
        grid.add_column(heading, justify="left" if heading == "what" else "right")
    for line in result["lines"]:
        grid.add_row(*_cells(line))
    console = Console(width=120, record=True, file=StringIO())
    console.print(grid)
    return console.export_text()


def _measured(rows: Rows, measurement: str, figure: str, must: str) -> Line:
    by_side = {name: [sample[figure] for sample in samples] for name, samples in rows[measurement].items()}
    line = _single(measurement, figure, by_side["bare"], by_side["sentinella"], must)
    if _UNLIMITED in by_side:
        line["unlimited"] = median(by_side[_UNLIMITED])
    return line


def _start(readiness: Mapping[str, Sequence[Readiness]], field: str) -> Line:
    bare, ours = ([getattr(one, field) for one in readiness[name]] for name in ("bare", "sentinella"))
    return _single("start to ready", field, bare, ours, "≤ +3")


def _single(measurement: str, figure: str, bare: Sequence[float], ours: Sequence[float], must: str) -> Line:
    ratios = [mine / other for other, mine in zip(bare, ours, strict=True) if other]
    added = [mine - other for other, mine in zip(bare, ours, strict=True)]
    return {
        "measurement": measurement,
        "figure": figure,
        "bare": median(bare),
        "sentinella": median(ours),
        "unlimited": None,
        "added": median(added),
        "ratio": median(ratios) if ratios else None,
        "ratios": ratios,
        "noise": max(bare) / min(bare) if min(bare) else None,
        "must": must,
    }


def _cells(line: Line) -> tuple[str, ...]:
    ratio = "-" if line["ratio"] is None else f"{line['ratio']:.2f}x"
    if len(line["ratios"]) > 1:
        ratio += f" ({min(line['ratios']):.2f}-{max(line['ratios']):.2f})"
    unlimited = "" if line["unlimited"] is None else _short(line["unlimited"])
    return (
        f"{line['measurement']}, {line['figure'].replace('_', ' ').replace('per s', '/s')}",
        _short(line["bare"]),
        _short(line["sentinella"]),
        unlimited,
        f"{'+' if line['added'] >= 0 else '-'}{_short(abs(line['added']))}",
        ratio,
        "-" if line["noise"] is None else f"{line['noise']:.2f}x",
        line["must"],
    )


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
