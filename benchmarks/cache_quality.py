"""The semantic cache's decision against cosine alone on the same pairs: `python -m benchmarks.cache_quality`.

Reads the project's own `data/minimal_pairs.jsonl.gz` and `cache/*.jsonl.gz` in `SENTINELLA_BENCH_DATA`
(default `../shared/data`), or what `--pairs` names. Minimal pairs, written by a language model, are questions
that differ in as little as possible, and as little apart wordings of one; no rule and no training saw them.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from sentinella_plugins.cache.evaluation import Decided, Floats, Pair, at, curve, decide, read_pairs, sweep
from sentinella_plugins.cache.verifier import Verifier
from sentinella_plugins.vectors.minilm import MiniLM

MINIMAL = Path(__file__).parent / "data" / "minimal_pairs.jsonl.gz"
FLOOR = 0.85
WIDTH, HEIGHT, EDGE = 640, 400, 60
LOWEST = 0.6
"""Of the plot's precision axis."""

COLOURS = {"cosine": "#9aa0a6", "Sentinella": "#1a73e8"}
Curves = dict[str, tuple[Floats, Floats]]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=Path, nargs="+")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--svg", type=Path, help="Plot of precision and recall on --plot's pairs.")
    parser.add_argument("--plot", default="qqp")
    chosen = parser.parse_args()
    folder = Path(os.environ.get("SENTINELLA_BENCH_DATA", "../shared/data")) / "cache"
    files = chosen.pairs or [MINIMAL, *sorted(folder.glob("*.jsonl.gz"))]
    if files == [MINIMAL]:
        print(f"no pairs in {folder}: set SENTINELLA_BENCH_DATA or give --pairs for more", file=sys.stderr)
    verifier = Verifier()
    pairs = read_pairs(files)
    decided = decide(pairs, MiniLM(), verifier, FLOOR)
    rows = [
        row
        for source in sorted({pair.source for pair in pairs})
        for row in lines(source, pairs, decided, verifier)
    ]
    show(rows, decided)
    if chosen.json:
        chosen.json.write_text(json.dumps(rows, indent=2) + "\n")
    if chosen.svg:
        chosen.svg.write_text(plot(curves(chosen.plot, pairs, decided), chosen.plot))


def lines(
    source: str, pairs: Sequence[Pair], decided: Sequence[Decided], verifier: Verifier
) -> list[dict[str, object]]:
    same, cosines, scores = arrays(source, pairs, decided)
    return [
        {"source": source, "pairs": len(same), "by": by, **at(values, same, bar), **sweep(values, same)}
        for by, values, bar in (("cosine", cosines, FLOOR), ("Sentinella", scores, verifier.serve))
    ]


def arrays(
    source: str, pairs: Sequence[Pair], decided: Sequence[Decided]
) -> tuple[NDArray[np.bool_], Floats, Floats]:
    rows = [(pair, found) for pair, found in zip(pairs, decided, strict=True) if pair.source == source]
    same = np.array([pair.same for pair, _ in rows], dtype=bool)
    cosines = np.array([max(found.cosine, 1e-6) for _, found in rows])
    return same, cosines, np.array([found.score for _, found in rows])


def curves(source: str, pairs: Sequence[Pair], decided: Sequence[Decided]) -> Curves:
    same, cosines, scores = arrays(source, pairs, decided)
    return {"cosine": curve(cosines, same), "Sentinella": curve(scores, same)}


def show(rows: Sequence[dict[str, object]], decided: Sequence[Decided]) -> None:
    table = Table(box=None)
    for name in rows[0]:
        table.add_column(name.replace("_", " "), justify="left" if name in ("source", "by") else "right")
    for row in rows:
        table.add_row(*("-" if value is None else str(value) for value in row.values()))
    Console(width=140).print(table)
    times = np.array([found.ms for found in decided if found.cosine >= FLOOR] or [0.0])
    p50, p99 = np.percentile(times, [50, 99])
    print(f"decision on a near pair: p50 {p50:.2f} ms, p99 {p99:.2f} ms")


def plot(drawn: Curves, source: str) -> str:
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"',
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        *axes(),
    ]
    for number, (name, (precision, recall)) in enumerate(drawn.items()):
        parts.append(line(precision, recall, COLOURS[name]))
        y = EDGE + 20 * number
        parts.append(f'<text x="{WIDTH - EDGE - 90}" y="{y}" fill="{COLOURS[name]}">{name}</text>')
    parts.append(
        f'<text x="{WIDTH / 2}" y="{HEIGHT - 12}" text-anchor="middle">recall ({source} pairs)</text>'
    )
    parts.append(f'<text x="16" y="{HEIGHT / 2}" transform="rotate(-90 16 {HEIGHT / 2})">precision</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def axes() -> list[str]:
    parts = []
    for share in (0.6, 0.7, 0.8, 0.9, 1.0):
        _, y = point(share, 0)
        parts.append(f'<line x1="{EDGE}" x2="{WIDTH - EDGE}" y1="{y:.0f}" y2="{y:.0f}" stroke="#e0e0e0"/>')
        parts.append(f'<text x="{EDGE - 8}" y="{y + 4:.0f}" text-anchor="end">{share:.0%}</text>')
    for share in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        x, y = point(LOWEST, share)
        parts.append(f'<text x="{x:.0f}" y="{y + 18:.0f}" text-anchor="middle">{share:.0%}</text>')
    return parts


def line(precision: Floats, recall: Floats, colour: str) -> str:
    """From 1 % recall on: the first few pairs say nothing."""
    keep = np.flatnonzero((recall >= 0.01) & (precision >= LOWEST))
    keep = keep[:: max(1, len(keep) // 300)]
    points = " ".join("{:.1f},{:.1f}".format(*point(precision[place], recall[place])) for place in keep)
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'


def point(precision: float, recall: float) -> tuple[float, float]:
    x = EDGE + recall * (WIDTH - 2 * EDGE)
    return x, EDGE / 2 + (1 - precision) / (1 - LOWEST) * (HEIGHT - 1.5 * EDGE)


if __name__ == "__main__":
    main()
