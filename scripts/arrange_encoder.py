"""Arranges the encoder's model for one text at a time: the same numbers from fewer steps.

    python3 -m venv /tmp/arrange
    /tmp/arrange/bin/pip install onnx onnxruntime tokenizers
    /tmp/arrange/bin/python scripts/arrange_encoder.py QUANTISED.onnx sentinella_plugins/vectors/data/minilm

What the export leaves behind for batches and padding goes, and the attention of a layer becomes one step.
`late` (1, length, 384) is what the last layer gets.
Nothing is written unless every vector is what it was, bit for bit; the encoder keeps its name, and kept
vectors stay good.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer

LAYERS, HEADS, SIZE, MOST_TOKENS = 6, 12, 384, 256
OPSET, CONTRIB = 17, "com.microsoft"
WORDS = "what is the capital of France and why does it rain in 30 days not only but my password é 日本 !?"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("quantised", type=Path)
    parser.add_argument("folder", type=Path)
    chosen = parser.parse_args()
    before = onnx.load(str(chosen.quantised))
    after = Arranged(before).model()
    compare(before, after, Tokenizer.from_file(str(chosen.folder / "tokenizer.json")))
    onnx.save(after, str(chosen.folder / "model.onnx"))
    tell(chosen.folder, chosen.quantised)


class Arranged:
    """Of a model that `export_encoder.py` made."""

    def __init__(self, made: onnx.ModelProto) -> None:
        self._known = {one.name: numpy_helper.to_array(one) for one in made.graph.initializer}
        self._products = {node.output[0]: node for node in made.graph.node if node.op_type == "MatMulInteger"}
        norm = next(node for node in made.graph.node if node.op_type == "LayerNormalization")
        self._epsilon = next(one.f for one in norm.attribute if one.name == "epsilon")
        self._nodes: list[onnx.NodeProto] = []
        self._tensors: list[onnx.TensorProto] = []

    def model(self) -> onnx.ModelProto:
        hidden = self._embedded()
        for layer in range(LAYERS):
            if layer == LAYERS - 1:
                self._nodes.append(helper.make_node("Identity", [hidden], ["late"], "late"))
            hidden = self._layer(layer, hidden)
        self._unit(self._step("ReduceMean", [hidden], axes=[1], keepdims=0), "vector")
        self._unit(hidden, "tokens")
        floats, ids = TensorProto.FLOAT, TensorProto.INT64
        graph = helper.make_graph(
            self._nodes,
            "minilm",
            [helper.make_tensor_value_info("input_ids", ids, [1, "length"])],
            [
                helper.make_tensor_value_info("vector", floats, [1, SIZE]),
                helper.make_tensor_value_info("tokens", floats, [1, "length", SIZE]),
                helper.make_tensor_value_info("late", floats, [1, "length", SIZE]),
            ],
            self._tensors,
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(CONTRIB, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)

    def _embedded(self) -> str:
        ids = self._step("Reshape", ["input_ids", self._keep("flat", np.array([-1]))])
        words = self._step("Gather", [*self._table("word")[:1], ids])
        start = self._keep("start", np.array([0]))
        places = self._step("Slice", [*self._table("position")[:1], start, self._step("Shape", [ids])])
        kind, scale, zero = (self._known[name] for name in self._names("token_type"))
        first = (kind[0].astype(np.int32) - int(zero)).astype(np.float32) * scale
        words = self._step("DequantizeLinear", [words, *self._table("word")[1:]])
        places = self._step("DequantizeLinear", [places, *self._table("position")[1:]])
        both = self._step("Add", [self._step("Add", [words, self._keep("kind", first)]), places])
        batch = self._step("Unsqueeze", [both, start])
        return self._norm(batch, "model.embeddings.LayerNorm")

    def _layer(self, number: int, hidden: str) -> str:
        path, weights = f"/model/encoder/layer.{number}", f"model.encoder.layer.{number}"
        met = self._dense(self._attention(path, weights, hidden), path, weights, "attention/output/dense")
        hidden = self._norm(self._step("Add", [met, hidden]), f"{weights}.attention.output.LayerNorm")
        wide = self._step("Gelu", [self._dense(hidden, path, weights, "intermediate/dense")], CONTRIB)
        narrow = self._dense(wide, path, weights, "output/dense")
        norm = self._norm_of(f"{weights}.output.LayerNorm")
        return self._step("SkipLayerNormalization", [narrow, hidden, *norm], CONTRIB, epsilon=self._epsilon)

    def _attention(self, path: str, weights: str, hidden: str) -> str:
        names = ("query", "key", "value")
        parts = zip(*(self._product(f"{path}/attention/self/{name}") for name in names), strict=True)
        weight, scale, zero = (np.concatenate(part, axis=-1) for part in parts)
        bias = np.concatenate([self._known[f"{weights}.attention.self.{name}.bias"] for name in names])
        whole = f"{weights}.attention"
        held = [self._keep(f"{whole}.{name}", array) for name, array in (("w", weight), ("b", bias))]
        scale, zero = self._keep(f"{whole}.scale", scale), self._keep(f"{whole}.zero", zero)
        small, by, off = self._steps("DynamicQuantizeLinear", [hidden], 3)
        return self._step("QAttention", [small, *held, by, scale, "", off, zero], CONTRIB, num_heads=HEADS)

    def _dense(self, value: str, path: str, weights: str, place: str) -> str:
        name = f"{weights}.{place.replace('/', '.')}"
        parts = zip(("w", "scale", "zero"), self._product(f"{path}/{place}"), strict=True)
        held = [self._keep(f"{name}.{part}", array) for part, array in parts]
        bias = self._keep(f"{name}.bias", self._known[f"{name}.bias"])
        return self._step("DynamicQuantizeMatMul", [value, *held, bias], CONTRIB)

    def _product(self, path: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Weight, scales and zero points of a product."""
        weight = self._products[f"{path}/MatMul_output_0_output_quantized"].input[1]
        base = weight.removesuffix("_quantized")
        return self._known[weight], self._known[f"{base}_scale"], self._known[f"{base}_zero_point"]

    def _norm(self, value: str, name: str) -> str:
        return self._step("LayerNormalization", [value, *self._norm_of(name)], axis=-1, epsilon=self._epsilon)

    def _norm_of(self, name: str) -> list[str]:
        return [self._keep(f"{name}.{part}", self._known[f"{name}.{part}"]) for part in ("weight", "bias")]

    def _table(self, kind: str) -> list[str]:
        return [self._keep(name, self._known[name]) for name in self._names(kind)]

    def _names(self, kind: str) -> list[str]:
        parts = ("quantized", "scale", "zero_point")
        return [f"model.embeddings.{kind}_embeddings.weight_{part}" for part in parts]

    def _unit(self, value: str, name: str) -> None:
        length = self._step("ReduceL2", [value], axes=[-1], keepdims=1)
        least = self._keep("least", np.array(1e-12, np.float32))
        inputs = [value, self._step("Max", [length, least])]
        self._nodes.append(helper.make_node("Div", inputs, [name], name=name))

    def _keep(self, name: str, array: np.ndarray) -> str:
        if all(tensor.name != name for tensor in self._tensors):
            self._tensors.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def _step(self, kind: str, inputs: Sequence[str], domain: str = "", **options: object) -> str:
        return self._steps(kind, inputs, 1, domain, **options)[0]

    def _steps(
        self, kind: str, inputs: Sequence[str], outputs: int, domain: str = "", **options: object
    ) -> list[str]:
        names = [f"{kind}_{len(self._nodes)}_{number}" for number in range(outputs)]
        self._nodes.append(helper.make_node(kind, inputs, names, names[0], domain=domain, **options))
        return names


def compare(before: onnx.ModelProto, after: onnx.ModelProto, tokenizer: Tokenizer) -> None:
    one, other = session(before), session(after)
    for text in texts():
        ids = np.array([tokenizer.encode(text).ids[:MOST_TOKENS]], dtype=np.int64)
        was = one.run(["vector", "tokens"], {"input_ids": ids, "attention_mask": np.ones_like(ids)})
        now = other.run(["vector", "tokens"], {"input_ids": ids})
        if not all(np.array_equal(old, new) for old, new in zip(was, now, strict=True)):
            raise SystemExit(f"another vector for {text!r}")


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def texts() -> Iterator[str]:
    chosen, words = random.Random(0), WORDS.split()  # noqa: S311 - any texts will do
    yield from ("", " ", "a", "日本語の質問", "x " * 300)
    for _ in range(2_000):
        yield " ".join(chosen.choices(words, k=chosen.randint(1, 24)))
    for length in range(1, MOST_TOKENS, 3):
        yield " ".join(chosen.choices(words, k=length))


def tell(folder: Path, quantised: Path) -> None:
    card = json.loads((folder / "card.json").read_text())
    card["vectors"] = hashlib.sha256(quantised.read_bytes()).hexdigest()[:8]
    card["words"] = words(folder / "model.onnx")
    card["sha256"]["model.onnx"] = hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
    (folder / "card.json").write_text(json.dumps(card, indent=2) + "\n")


def words(model: Path) -> dict[str, object]:
    """Where the words' vectors lie in the file: the gateway maps them instead of reading them."""
    name = "model.embeddings.word_embeddings.weight_quantized"
    [table] = [found for found in onnx.load(str(model)).graph.initializer if found.name == name]
    if table.data_type != TensorProto.UINT8:
        raise SystemExit(f"{name} is not made of bytes")
    return {"name": name, "offset": model.read_bytes().index(table.raw_data), "shape": list(table.dims)}


if __name__ == "__main__":
    main()
