"""The router against simpler ones and LiteLLM's complexity router: `python -m benchmarks.router`.

Reads `router/dev_*.jsonl.gz` in `SENTINELLA_BENCH_DATA` (default `../shared/data`). Of sets with costs, a
random half of the rows calibrates and the rest is judged, `--splits` times; what is shown are means. Of sets
of two models nothing was seen before.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from sentinella_plugins.gateway.complexity import complexities
from sentinella_plugins.router.evaluation import BUDGETS, Evaluation
from sentinella_plugins.router.measures import Point
from sentinella_plugins.router.prediction import Predictor
from sentinella_plugins.router.rows import Row, read_rows
from sentinella_plugins.router.splits import SPLITS, halved
from sentinella_plugins.vectors.minilm import MiniLM

WIDTH, HEIGHT, EDGE = 640, 400, 60
COLOURS = {
    "sentinella": "#1a73e8",
    "knn": "#e37400",
    "length": "#188038",
    "litellm_complexity": "#a142f4",
    "random": "#9aa0a6",
}
Curves = Mapping[str, Sequence[Point]]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, nargs="+")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--svg", type=Path, help="Plot of cost and quality on --plot's rows.")
    parser.add_argument("--plot", default="arc_challenge")
    parser.add_argument("--splits", type=int, default=SPLITS)
    chosen = parser.parse_args()
    folder = Path(os.environ.get("SENTINELLA_BENCH_DATA", "../shared/data")) / "router"
    files = chosen.data or sorted(folder.glob("dev_*.jsonl.gz"))
    if not files:
        sys.exit(f"skipped: no rows in {folder}; set SENTINELLA_BENCH_DATA or give --data")
    results = {}
    for file in files:
        name = file.name.removesuffix(".jsonl.gz")
        results[name], curves = measured(read_rows([file]), chosen.splits)
        show(name, results[name])
        if chosen.svg and chosen.plot in name:
            chosen.svg.write_text(plot(curves, name))
    if chosen.json:
        chosen.json.write_text(json.dumps(results, indent=2) + "\n")


def measured(rows: Sequence[Row], splits: int) -> tuple[Mapping[str, Any], Curves]:
    predictor, encode = Predictor.load(), MiniLM().encode
    if not rows[0].costs:
        public = Evaluation(rows, predictor, encode, complexity=complexities).report().public
        return {**public, "rows": len(rows), "quality_at_cost_share": {}, "cost_shares": {}}, {}
    found = halved(rows, predictor, encode, splits=splits, complexity=complexities)
    told = {"rows": len(rows), "quality_at_cost_share": found.budgets, "cost_shares": found.shares}
    return {**found.public, **told}, found.reports[0].curves


def show(name: str, result: Mapping[str, Any]) -> None:
    names = list(result["sentinella"])
    shares = [f"at {share:.0%}" for share in BUDGETS] if result["quality_at_cost_share"] else []
    table = Table(title=f"{name}, {result['rows']} rows", box=None, title_justify="left")
    for heading in ("router", *names, *shares):
        table.add_column(heading, justify="left" if heading == "router" else "right")
    for router in ("sentinella", "knn", "length", "litellm_complexity", "random", "best_single", "oracle"):
        budgets = result["quality_at_cost_share"].get(router) or [None] * len(shares)
        values = [*(result[router][name] for name in names), *budgets]
        table.add_row(router, *("-" if value is None else f"{value:.3g}" for value in values))
    console = Console(width=150)
    console.print(table)
    for router, shares in result["cost_shares"].items():
        console.print(
            f"{router}: within 0.5 points of the best single model at {np.mean(shares):.0%} of its cost "
            f"({min(shares):.0%} to {max(shares):.0%} in {len(shares)} splits)"
        )
    took = result["decision_ms"]
    console.print(f"decision: p50 {took['p50']:.3f} ms, p99 {took['p99']:.3f} ms, embedding excluded\n")


def plot(curves: Curves, name: str) -> str:
    points = [point for one in curves.values() for point in one]
    most = max(point.cost for point in points)
    low, high = (pick(point.quality for point in points) for pick in (min, max))

    def at(point: Point) -> str:
        x = EDGE + (WIDTH - 2 * EDGE) * point.cost / most
        y = HEIGHT - EDGE - (HEIGHT - 2 * EDGE) * (point.quality - low) / max(high - low, 1e-9)
        return f"{x:.1f},{y:.1f}"

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"',
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<path d="M{EDGE} {EDGE}V{HEIGHT - EDGE}H{WIDTH - EDGE}" fill="none" stroke="#9aa0a6"/>',
        f'<text x="{EDGE - 8}" y="{EDGE + 4}" text-anchor="end">{high:.1%}</text>',
        f'<text x="{EDGE - 8}" y="{HEIGHT - EDGE + 4}" text-anchor="end">{low:.1%}</text>',
        f'<text x="{WIDTH - EDGE}" y="{HEIGHT - EDGE + 18}" text-anchor="end">${most:.5f}</text>',
        f'<text x="{WIDTH / 2}" y="{HEIGHT - 14}" text-anchor="middle">mean cost of a call ({name})</text>',
        f'<text x="16" y="{HEIGHT / 2}" transform="rotate(-90 16 {HEIGHT / 2})">quality</text>',
    ]
    for number, (router, one) in enumerate((router, curves.get(router)) for router in COLOURS):
        if not one:
            continue
        colour, y = COLOURS[router], HEIGHT - EDGE - 110 + 20 * number
        line = " ".join(map(at, one[:: max(1, len(one) // 200)]))
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(f'<text x="{WIDTH - EDGE - 130}" y="{y}" fill="{colour}">{router}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


if __name__ == "__main__":
    main()
