"""Sets how much words and reader count in the cache's decision, and what a score is worth:

    .venv/bin/python scripts/calibrate_verifier.py FILE.jsonl.gz...

Of each file the pairs that are near and that no guard refuses, and of them half (by hash), weigh alike,
whatever their number. The reader counts one and a half times as much as the words, in standard deviations of
the first file; shift and slope are learned, and go into `sentinella_plugins/cache/data/card.json`.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sentinella_plugins.cache.evaluation import read_pairs
from sentinella_plugins.cache.features import features
from sentinella_plugins.cache.guards import refusal
from sentinella_plugins.cache.lexicon import DATA
from sentinella_plugins.cache.reading import LONGEST, read
from sentinella_plugins.cache.verifier import Verifier
from sentinella_plugins.vectors.minilm import MiniLM
from sentinella_plugins.vectors.pairs import PairReader

FLOOR = 0.85
READ_FROM = 0.9
"""Log odds by the words alone: below it a pair is not read. Of 1,763 such pairs reading served 3."""

READER = 1.5
"""Chosen by minimal pairs and natural neighbours; the more of it, the fewer wrong and right hits."""

LEFT_OUT = ("sem_anto_neg", "gptcache_mock")
Floats = NDArray[np.float64]


def main(files: list[Path]) -> None:
    parts = [measured(file) for file in files]
    signals, same = parts[0]
    ratio = READER * float(signals[:, 0].std() / signals[:, 1].std())
    alone = fitted(signals[:, 0], same, np.full(len(same), 1 / len(same)))
    both = [signals[:, 0] + ratio * signals[:, 1] for signals, _ in parts]
    labels = [same for _, same in parts]
    weights = [np.full(len(same), 1 / len(same)) for same in labels]
    shift, slope = fitted(*map(np.concatenate, (both, labels, weights)))
    card = json.loads((DATA / "card.json").read_text())
    card["calibration"] = {
        "alone": dict(zip(("shift", "words"), map(rounded, alone), strict=True)),
        "together": {"shift": rounded(shift), "words": rounded(slope), "reader": rounded(slope * ratio)},
    }
    card["read_from"] = READ_FROM
    (DATA / "card.json").write_text(json.dumps(card, indent=2) + "\n")
    print([len(same) for same in labels], card["calibration"])


def measured(file: Path) -> tuple[Floats, Floats]:
    encoder, verifier, reader = MiniLM(), Verifier(), PairReader()
    signals, same = [], []
    for pair in read_pairs([file]):
        if (
            pair.source in LEFT_OUT
            or not in_half(pair.a + pair.b)
            or max(map(len, (pair.a, pair.b))) > LONGEST
        ):
            continue
        a, b = encoder.encode([pair.a, pair.b])
        one, other = read(pair.a), read(pair.b)
        if a.vector @ b.vector >= FLOOR and not refusal(one, other):
            signals.append((verifier.words(features(a, b, one, other)), reader.read(a, b) or 0.0))
            same.append(float(pair.same))
    return np.array(signals), np.array(same)


def fitted(signal: Floats, same: Floats, weights: Floats) -> tuple[float, float]:
    """Shift and slope of a logistic regression, by Newton's method."""
    inputs = np.c_[np.ones(len(signal)), signal]
    found = np.array([-signal.mean() / signal.std(), 1 / signal.std()])
    for _ in range(50):
        share = 1 / (1 + np.exp(-inputs @ found))
        slope = inputs.T @ (weights * (same - share))
        curvature = (inputs * (weights * share * (1 - share))[:, None]).T @ inputs
        found = found + np.linalg.solve(curvature, slope)
    return float(found[0]), float(found[1])


def rounded(value: float) -> float:
    return round(value, 6)


def in_half(text: str) -> bool:
    return int(hashlib.md5(text.encode()).hexdigest(), 16) % 2 == 0  # noqa: S324


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:]])
