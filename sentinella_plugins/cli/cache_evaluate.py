"""`sentinella cache evaluate`: needs no gateway."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from sentinella_plugins.cli import show
from sentinella_plugins.cli.options import AsJson
from sentinella_plugins.kernel.errors import SettingsError


def evaluate_command(
    pairs: Annotated[list[Path], typer.Option(help="Pairs as .jsonl or .jsonl.gz; may be given again.")],
    threshold: Annotated[float, typer.Option(min=0, max=1, help="Floor of the cosine.")] = 0.85,
    confidence: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Least score that is served. Default: the verifier's own."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Precision and recall of the semantic cache's decision on pairs whose answer is known."""
    from sentinella_plugins.cache.evaluation import evaluate
    from sentinella_plugins.cache.verifier import Verifier
    from sentinella_plugins.vectors.minilm import MiniLM

    try:
        judge = Verifier()
        served = judge.serve if confidence is None else confidence
        found = evaluate(pairs, MiniLM(), judge, threshold=threshold, confidence=served)
    except SettingsError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    if as_json:
        show.raw(found)
    else:
        _table(found)


def _table(found: Mapping[str, Any]) -> None:
    rows = [{"source": source, **figures} for source, figures in found["sources"].items()]
    columns: dict[str, show.Cell] = {
        "source": lambda row: row["source"],
        "pairs": lambda row: row["pairs"],
        "precision": lambda row: _percent(row["precision"]),
        "recall": lambda row: _percent(row["recall"]),
        "wrong served": lambda row: _percent(row["negatives_served"]),
        "recall at 90 %": lambda row: _percent(row["recall_at_precision"]["0.90"]),
        "at 93 %": lambda row: _percent(row["recall_at_precision"]["0.93"]),
        "at 95 %": lambda row: _percent(row["recall_at_precision"]["0.95"]),
    }
    show.table(rows, columns, numbers=[name for name in columns if name != "source"])
    latency = found["latency_ms"]
    typer.echo(f"decision: p50 {latency['p50']:.2f} ms, p99 {latency['p99']:.2f} ms")


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share * 100:.1f} %"
