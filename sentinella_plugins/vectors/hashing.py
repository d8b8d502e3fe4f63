"""An encoder without a model: texts are near when they share words. For tests and for trying things out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import blake2b

import numpy as np

from sentinella_plugins.vectors.models import Encoding, Vector
from sentinella_plugins.vectors.texts import readable, unit

_WORD = re.compile(r"\w+")


class HashingModel:
    """The same text has the same vectors everywhere. `calls` and `texts` count."""

    def __init__(self, dimensions: int = 256, max_characters: int = 8_000) -> None:
        self.name = f"hashing-{dimensions}"
        self.dimensions = dimensions
        self.calls = self.texts = 0
        self._most = max_characters

    def encode(self, texts: Sequence[str]) -> list[Encoding]:
        self.calls += 1
        self.texts += len(texts)
        return [self._encode(text) for text in texts]

    def _encode(self, text: str) -> Encoding:
        words = _WORD.findall(readable(text, self._most).lower())
        tokens = unit(np.array([self._direction(word) for word in words]).reshape(-1, self.dimensions))
        whole = tokens.sum(axis=0) if words else self._direction("")
        return Encoding(text=text, vector=unit(whole[None])[0], tokens=tokens, pieces=tuple(words))

    def _direction(self, word: str) -> Vector:
        seed = int.from_bytes(blake2b(word.encode(), digest_size=8).digest(), "little")
        return np.random.default_rng(seed).standard_normal(self.dimensions).astype(np.float32)


class HashingEncoder:
    """An `Encoder` that answers at once."""

    def __init__(self, dimensions: int = 256) -> None:
        self.model = HashingModel(dimensions)
        self.name = self.model.name
        self.dimensions = dimensions

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def encode(self, texts: Sequence[str]) -> Sequence[Encoding]:
        return self.model.encode(texts)
