"""Trains the cache's decision on pairs from `verifier_pairs.py` and writes `sentinella_plugins/cache/data/`:

    PYTHONPATH=. /tmp/export/bin/python scripts/train_verifier.py --pairs /tmp/pairs.jsonl

Needs scikit-learn beside the project's own requirements; about five minutes on one core. The model is
additive: a piecewise linear function of each feature of `cache/features.py`, and a logistic function of
their sum. Run `calibrate_verifier.py` afterwards.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression

from sentinella_plugins.cache.features import NAMES, features
from sentinella_plugins.cache.guards import refusal
from sentinella_plugins.cache.reading import LONGEST, read
from sentinella_plugins.cache.verifier import hinges
from sentinella_plugins.vectors.minilm import MiniLM

TARGET = Path("sentinella_plugins/cache/data")
SOURCES = {
    "google-research-datasets/query-wellformedness": "CC BY-SA 4.0",
    "PolyAI-LDN/task-specific-datasets (banking77)": "CC BY 4.0",
    "clinc/oos-eval": "CC BY 3.0",
    "WordNet 3.0 (words.json is derived from it)": "WORDNET-LICENSE.txt",
}
MOST = {("intent", 1): 24_000, ("intent", 0): 20_000, ("neighbour", 0): 6_000}
MADE = 25_000
NEAR = 0.78
PULL = 40.0
"""Weight of the cosine beyond what was learned: it holds where the training pairs are unlike the user's."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=Path, required=True)
    chosen = parser.parse_args()
    rows = sampled([json.loads(line) for line in chosen.pairs.read_text().splitlines()])
    inputs, same = measured([(row["a"], row["b"], row["same"], row["why"]) for row in rows])
    knots = np.quantile(inputs, np.linspace(0, 1, 6), axis=0)
    spread = hinges(inputs, knots)
    middle, scale = spread.mean(0), spread.std(0) + 1e-6
    model = LogisticRegression(C=0.02, max_iter=1000).fit((spread - middle) / scale, same)
    weights = model.coef_[0] / scale
    offset = float(model.intercept_[0] - (weights * middle).sum())
    print("fits", round(float(model.score((spread - middle) / scale, same)), 4), len(same), same.mean())
    np.savez(TARGET / "verifier.npz", knots=knots, weights=weights, offset=np.array(offset))
    write(same)


def sampled(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    random.Random(0).shuffle(rows)  # noqa: S311
    counts: dict[tuple[str, int], int] = {}
    kept, made = [], 0
    for row in rows:
        key = row["why"], row["same"]
        counts[key] = counts.get(key, 0) + 1
        if key in MOST:
            if counts[key] <= MOST[key]:
                kept.append(row)
        elif made < MADE:
            made += 1
            kept.append(row)
    return kept


def measured(rows: list[tuple[str, str, int, str]]) -> tuple[Any, Any]:
    """Features and labels of the pairs that are near and that no guard refuses."""
    encoder = MiniLM()
    inputs, labels = [], []
    for a, b, same, why in rows:
        one, other = read(a[:LONGEST]), read(b[:LONGEST])
        if refusal(one, other):
            continue
        left, right = encoder.encode([a, b])
        found = features(left, right, one, other)
        if found[0] < NEAR or (
            why == "neighbour" and (found[0] > 0.93 or not found[NAMES.index("lost_far")])
        ):
            continue
        inputs.append(found)
        labels.append(same)
    return np.array(inputs), np.array(labels)


def write(same: Any) -> None:
    card = {
        "name": "semantic cache verifier",
        "features": list(NAMES),
        "trained_on": SOURCES,
        "pairs": {"same": int(same.sum()), "different": int(len(same) - same.sum())},
        "pull": PULL,
        "calibration": {
            "alone": {"shift": 0.0, "words": 1.0},
            "together": {"shift": 0.0, "words": 1.0, "reader": 1.0},
        },
        "serve": 0.85,
        "read_from": -50.0,
        "sha256": {
            name: hashlib.sha256((TARGET / name).read_bytes()).hexdigest()
            for name in ("verifier.npz", "words.json", "contrasts.txt")
        },
    }
    (TARGET / "card.json").write_text(json.dumps(card, indent=2) + "\n")


if __name__ == "__main__":
    main()
