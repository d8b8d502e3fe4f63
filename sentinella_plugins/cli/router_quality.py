"""`sentinella router train` and `sentinella router evaluate`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from sentinella_plugins.cli import options as o

_COMPLEXITY = "sentinella_plugins.gateway.complexity"
_ORDER = (
    "sentinella",
    "random",
    "length",
    "knn",
    "best_single",
    "oracle",
    "litellm_complexity",
    "decision_ms",
)
_FILE = {"exists": True, "dir_okay": False}
Data = Annotated[
    list[Path],
    typer.Option(
        "--data", help="Rows {task, prompt, scores, costs?, output_chars?}; .jsonl or .jsonl.gz.", **_FILE
    ),
]


def train_command(
    data: Data,
    out: Annotated[Path, typer.Option("--out", help="Folder of weights.npz and card.json.", file_okay=False)],
    seed: Annotated[int, typer.Option("--seed")] = 0,
    as_json: o.AsJson = False,
) -> None:
    """Train the router's artefact: a few minutes on one thread, the same bytes every time."""
    from sentinella_plugins.router.training import train

    card = _tried(lambda: train(data, out, seed))
    if as_json:
        return typer.echo(json.dumps(card, indent=2))
    typer.echo(f"trained on {card['rows']} rows; the artefact is in {out}")


def evaluate_command(
    data: Data,
    calibrate: Annotated[
        list[Path] | None,
        typer.Option(
            "--calibrate", help="Graded rows that profiles are fitted on; not among --data.", **_FILE
        ),
    ] = None,
    strong: Annotated[str | None, typer.Option("--strong", help="As the rows name it.")] = None,
    weak: Annotated[str | None, typer.Option("--weak", help="As the rows name it.")] = None,
    artefact: Annotated[
        Path | None,
        typer.Option("--artefact", help="Another artefact than the shipped one.", file_okay=False),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="A file for the JSON.", dir_okay=False)] = None,
    as_json: o.AsJson = False,
) -> None:
    """Compare the router with simpler ones and LiteLLM's own, on graded rows."""
    from sentinella_plugins.router.evaluation import Evaluation
    from sentinella_plugins.router.prediction import Predictor
    from sentinella_plugins.router.rows import read_rows
    from sentinella_plugins.vectors.minilm import MiniLM

    def measured() -> Mapping[str, Any]:
        evaluation = Evaluation(
            read_rows(data),
            Predictor.load(artefact) if artefact else Predictor.load(),
            MiniLM().encode,
            calibrate=read_rows(calibrate or []),
            strong=strong,
            weak=weak,
            complexity=import_module(_COMPLEXITY).complexities,
        )
        return evaluation.report().public

    public = _tried(measured)
    text = json.dumps({name: public[name] for name in _ORDER}, indent=2)
    if out is not None:
        out.write_text(text + "\n")
    typer.echo(text) if as_json else _show(public)


def _show(public: Mapping[str, Mapping[str, float | None]]) -> None:
    from sentinella_plugins.cli import show

    rows: list[dict[str, Any]] = [{"router": name, **public[name]} for name in _ORDER[:-1]]
    numbers = list(public["sentinella"])
    show.table(rows, {name: _field(name) for name in ("router", *numbers)}, numbers=numbers)
    took = public["decision_ms"]
    typer.echo(f"\ndecision: p50 {took['p50']:.3f} ms, p99 {took['p99']:.3f} ms, embedding excluded")


def _field(name: str) -> Any:
    def shown(row: Mapping[str, Any]) -> Any:
        value = row.get(name)
        return float(f"{value:.4g}") if isinstance(value, float) else value

    return shown


def _tried(work: Any) -> Any:
    from sentinella_plugins.cli.client import fail

    try:
        return work()
    except (OSError, ValueError) as error:
        fail(str(error))
