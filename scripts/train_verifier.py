"""Trains the cache's verifier on pairs from `verifier_pairs.py` and writes `sentinella_plugins/cache/data/`:

    PYTHONPATH=. /tmp/export/bin/python scripts/train_verifier.py --pairs /tmp/pairs.jsonl --work /tmp/verifier

Needs torch (the environment of `export_encoder.py`); about fifteen minutes on one core. Encodings are kept in
`--work`. The model compares each word piece with its softly aligned partner in the other question, and joins that with
the features of `cache/features.py`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from sentinella_plugins.cache.features import NAMES, features
from sentinella_plugins.cache.guards import refusal
from sentinella_plugins.cache.reading import LONGEST, read
from sentinella_plugins.vectors.minilm import MiniLM
from sentinella_plugins.vectors.models import Encoding

TARGET = Path("sentinella_plugins/cache/data")
SOURCES = {
    "google-research-datasets/query-wellformedness": "CC BY-SA 4.0",
    "PolyAI-LDN/task-specific-datasets (banking77)": "CC BY 4.0",
    "clinc/oos-eval": "CC BY 3.0",
    "WordNet 3.0": "WordNet licence",
}
HIDDEN = 64
LONG = 40
NEAR = 0.6
"""Pairs of a lower cosine are never asked about."""


class Match(nn.Module):
    def __init__(self, dimensions: int, others: int, drop: float = 0.2) -> None:
        super().__init__()
        self.project = nn.Linear(dimensions, HIDDEN)
        self.sharpness = nn.Parameter(torch.tensor(20.0))
        self.compare = nn.Linear(4 * HIDDEN + 2, HIDDEN)
        self.hidden = nn.Linear(2 * HIDDEN + others, HIDDEN)
        self.out = nn.Linear(HIDDEN, 1)
        self.drop = nn.Dropout(drop)

    def forward(self, x: Any, x_mask: Any, y: Any, y_mask: Any, others: Any) -> Any:
        sims = x @ y.transpose(1, 2)
        left, right = self.project(x), self.project(y)
        both = self.side(left, x_mask, right, y_mask, sims) + self.side(
            right, y_mask, left, x_mask, sims.transpose(1, 2)
        )
        inner = torch.relu(self.hidden(self.drop(torch.cat([both, others], -1))))
        return self.out(self.drop(inner)).squeeze(-1)

    def side(self, mine: Any, mask: Any, yours: Any, your_mask: Any, sims: Any) -> Any:
        seen = sims.masked_fill(~your_mask[:, None, :], -1e4)
        weights = torch.softmax(seen * self.sharpness.abs(), -1)
        partner = weights @ yours
        best = seen.max(-1).values[..., None]
        mean = (weights * sims).sum(-1, keepdim=True)
        parts = [mine, partner, (mine - partner).abs(), mine * partner, best, mean]
        inner = torch.relu(self.compare(self.drop(torch.cat(parts, -1)))).masked_fill(~mask[..., None], 0)
        return torch.cat([inner.max(1).values, inner.sum(1) / mask.sum(1, keepdim=True).clamp(min=1)], -1)


class Encoded:
    """Encodings of many texts on disk."""

    def __init__(self, texts: list[str], folder: Path) -> None:
        digest = hashlib.sha256("\0".join(texts).encode()).hexdigest()[:12]
        file = folder / f"encoded-{digest}.npz"
        if not file.exists():
            self._make(texts, file)
        held = np.load(file)
        self.vectors, self.tokens, self.ends = held["vectors"], held["tokens"], held["ends"]
        self.pieces = json.loads(file.with_suffix(".json").read_text())
        self.texts = texts

    def _make(self, texts: list[str], file: Path) -> None:
        encoder = MiniLM()
        vectors, tokens, ends, pieces = [], [], [0], []
        for text in texts:
            made = encoder.encode([text])[0]
            vectors.append(made.vector.astype(np.float16))
            tokens.append(made.tokens.astype(np.float16))
            ends.append(ends[-1] + len(made.pieces))
            pieces.append(made.pieces)
        np.savez(file, vectors=np.stack(vectors), tokens=np.concatenate(tokens), ends=np.array(ends))
        file.with_suffix(".json").write_text(json.dumps(pieces))

    def __getitem__(self, place: int) -> Encoding:
        tokens = self.tokens[self.ends[place] : self.ends[place + 1]].astype(np.float32)
        return Encoding(self.texts[place], self.vectors[place].astype(np.float32), tokens, tuple(self.pieces[place]))

    def batch(self, places: Any) -> tuple[Any, Any]:
        lengths = np.minimum(self.ends[places + 1] - self.ends[places], LONG)
        out = np.zeros((len(places), max(int(lengths.max()), 1), self.tokens.shape[1]), np.float32)
        mask = np.zeros(out.shape[:2], bool)
        for row, (place, length) in enumerate(zip(places, lengths, strict=True)):
            out[row, :length] = self.tokens[self.ends[place] : self.ends[place] + length]
            mask[row, : max(length, 1)] = True
        return torch.from_numpy(out), torch.from_numpy(mask)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=Path, nargs="+", required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=4)
    chosen = parser.parse_args()
    chosen.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rows = [json.loads(line) for file in chosen.pairs for line in file.read_text().splitlines()]
    encoded = Encoded(sorted({text for row in rows for text in (row["a"], row["b"])}), chosen.work)
    place = {text: number for number, text in enumerate(encoded.texts)}
    rows, inputs = prepared(rows, encoded, place)
    left = np.array([place[row["a"]] for row in rows])
    right = np.array([place[row["b"]] for row in rows])
    same = np.array([row["same"] for row in rows], dtype=np.float32)
    held_out = np.array([int(hashlib.sha256(row["a"].lower().encode()).hexdigest(), 16) % 20 == 0 for row in rows])
    middle, spread = inputs.mean(0), inputs.std(0) + 1e-6
    inputs = ((inputs - middle) / spread).astype(np.float32)
    net = Match(encoded.tokens.shape[1], len(NAMES))
    fit(net, encoded, left[~held_out], right[~held_out], inputs[~held_out], same[~held_out], chosen.epochs)
    logits = scored(net, encoded, left[held_out], right[held_out], inputs[held_out])
    write(net, middle, spread, rows, logits, same[held_out])


def prepared(rows: list[dict[str, Any]], encoded: Encoded, place: dict[str, int]) -> tuple[list[dict[str, Any]], Any]:
    """Pairs that are near and that no guard decides, with their features."""
    kept, inputs = [], []
    for row in rows:
        a, b = encoded[place[row["a"]]], encoded[place[row["b"]]]
        one, other = read(a.text[:LONGEST]), read(b.text[:LONGEST])
        if float(a.vector @ b.vector) < NEAR or refusal(one, other):
            continue
        found = features(a, b, one, other)
        if row["why"] == "intent" and row["same"] and found[NAMES.index("swapped")]:
            continue  # of one intent, but perhaps about other things
        kept.append(row)
        inputs.append(found)
    print(Counter((row["why"], row["same"]) for row in kept))
    return kept, np.array(inputs)


def fit(net: Match, encoded: Encoded, left: Any, right: Any, inputs: Any, same: Any, epochs: int, size: int = 128) -> None:
    steps = epochs * (len(left) // size)
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-3, total_steps=steps + 1, pct_start=0.1)
    rng = np.random.default_rng(0)
    for _ in range(epochs):
        net.train()
        order = rng.permutation(len(left))
        for start in range(0, len(order) - size + 1, size):
            rows = order[start : start + size]
            logits = net(*encoded.batch(left[rows]), *encoded.batch(right[rows]), torch.from_numpy(inputs[rows]))
            wanted = torch.from_numpy(same[rows]) * 0.9 + 0.05
            loss = nn.functional.binary_cross_entropy_with_logits(logits, wanted)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()


def scored(net: Match, encoded: Encoded, left: Any, right: Any, inputs: Any, size: int = 256) -> Any:
    net.eval()
    with torch.no_grad():
        parts = [
            net(*encoded.batch(left[at : at + size]), *encoded.batch(right[at : at + size]), torch.from_numpy(inputs[at : at + size]))
            for at in range(0, len(left), size)
        ]
    return torch.cat(parts).numpy()


def write(net: Match, middle: Any, spread: Any, rows: list[dict[str, Any]], logits: Any, same: Any) -> None:
    weights = {name.replace(".", "_"): value.detach().numpy().astype(np.float32) for name, value in net.named_parameters()}
    np.savez(TARGET / "verifier.npz", middle=middle.astype(np.float32), spread=spread.astype(np.float32), **weights)
    right = float(((logits > 0) == (same > 0.5)).mean())
    card = {
        "name": "pair verifier", "features": list(NAMES), "trained_on": SOURCES,
        "pairs": {"same": sum(row["same"] for row in rows), "different": sum(1 - row["same"] for row in rows)},
        "held_out_accuracy": round(right, 4),
        "sha256": {name: hashlib.sha256((TARGET / name).read_bytes()).hexdigest() for name in ("verifier.npz", "words.json")},
    }  # fmt: skip
    (TARGET / "card.json").write_text(json.dumps(card, indent=2) + "\n")


if __name__ == "__main__":
    main()
