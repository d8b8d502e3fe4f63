"""all-MiniLM-L6-v2 on ONNX Runtime, from package data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import onnxruntime  # type: ignore[import-untyped]
from tokenizers import Tokenizer

from sentinella_plugins.kernel.errors import SettingsError
from sentinella_plugins.vectors.models import Encoding

T = TypeVar("T")
DATA = Path(__file__).parent / "data" / "minilm"
MODEL, TOKENIZER = "model.onnx", "tokenizer.json"
READ_CHARACTERS = 8_000


class DamagedModel(SettingsError):
    """A model file is missing or not the one that its card names. Install Sentinella again."""


class MiniLM:
    """Thread-safe. Texts of more than `max_tokens` are represented by their first and last halves of it."""

    def __init__(self, folder: Path = DATA, *, threads: int = 1) -> None:
        """Raises `DamagedModel`."""
        card = checked(folder)
        self.name = f"{card['name']}@{card['vectors']}"
        self.dimensions: int = card["dimensions"]
        self.max_tokens: int = card["max_tokens"]
        self._tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        self._words = _mapped(folder / MODEL, card["words"])  # the session uses it and does not own it
        options = session_options(threads)
        options.add_initializer(card["words"]["name"], self._words)
        # From the file: bytes that it were given it would keep.
        self._session = onnxruntime.InferenceSession(
            str(folder / MODEL), options, providers=["CPUExecutionProvider"]
        )

    def encode(self, texts: Sequence[str]) -> list[Encoding]:
        # One by one: int8 scales are taken over a whole batch, so that neighbours would change a text's
        # vector, and a batch is hardly quicker per text.
        return [self._encode(text) for text in texts]

    def _encode(self, text: str) -> Encoding:
        made = self._tokenizer.encode(_readable(text))
        ids, pieces = self._cut(made.ids), self._cut(made.tokens)
        inputs = np.array([ids], dtype=np.int64)
        vectors, tokens, late = self._session.run(["vector", "tokens", "late"], {"input_ids": inputs})
        return Encoding(
            text=text,
            vector=vectors[0],
            tokens=tokens[0, 1:-1],
            pieces=tuple(pieces[1:-1]),
            late=late[0].astype(np.float16),
        )

    def _cut(self, items: list[T]) -> list[T]:
        half = self.max_tokens // 2
        return items if len(items) <= self.max_tokens else items[:half] + items[-half:]


def _readable(text: str) -> str:
    half = READ_CHARACTERS // 2
    if len(text) > READ_CHARACTERS:
        text = f"{text[:half]} {text[-half:]}"
    return text.encode("utf-8", "replace").decode("utf-8")  # lone surrogates


def session_options(threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False  # it keeps the peak of the longest text for ever
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _mapped(model: Path, words: dict[str, Any]) -> Any:
    """The vectors of all words, half of the model, where they lie in its file: a text needs few of them, and
    the workers of a machine share what is read."""
    rows = np.memmap(model, np.uint8, "r", words["offset"], tuple(words["shape"]))
    return onnxruntime.OrtValue.ortvalue_from_numpy(rows)


def checked(folder: Path) -> dict[str, Any]:
    try:
        card: dict[str, Any] = json.loads((folder / "card.json").read_text())
        found = {name: _sha256(folder / name) for name in card["sha256"]}
    except (OSError, ValueError, KeyError) as error:
        raise DamagedModel(f"The encoder in {folder} cannot be read: {error}.") from error
    for name, digest in found.items():
        if digest != card["sha256"][name]:
            raise DamagedModel(
                f"{folder / name} is not the file that its card names. Install Sentinella again."
            )
    return card


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
