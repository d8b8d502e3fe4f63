"""A sentence-transformers model of one's own; the extra `sentence-transformers` installs what it needs."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from types import ModuleType

import numpy as np

from sentinella_plugins.kernel.errors import SettingsError
from sentinella_plugins.vectors.models import Encoding
from sentinella_plugins.vectors.texts import readable, unit


class MissingExtra(SettingsError):
    """This encoder needs more packages: `pip install 'sentinella[sentence-transformers]'`."""


class UnknownModel(SettingsError):
    """The sentence-transformers model cannot be loaded. Give `vectors.model` a folder or a known name."""


class SentenceTransformers:
    """`name` is the model's: another model needs another one. It has no token vectors."""

    def __init__(self, model: str, *, threads: int = 1, max_characters: int = 8_000) -> None:
        """Raises `MissingExtra` and `UnknownModel`."""
        library = _imported("sentence_transformers")
        _imported("torch").set_num_threads(threads)
        try:
            self._model = library.SentenceTransformer(model, device="cpu")
        except (OSError, ValueError) as error:
            raise UnknownModel(f"The model `{model}` cannot be loaded: {error}") from error
        self.name = f"sentence-transformers:{model}:{max_characters}"
        self._most = max_characters
        self.dimensions = int(self._vectors(["dimensions"]).shape[1])

    def encode(self, texts: Sequence[str]) -> list[Encoding]:
        none = np.empty((0, self.dimensions), dtype=np.float32)
        vectors = self._vectors(texts)
        return [Encoding(text, vector, none) for text, vector in zip(texts, vectors, strict=True)]

    def _vectors(self, texts: Sequence[str]) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
        read = [readable(text, self._most) for text in texts]
        made = self._model.encode(read, convert_to_numpy=True, show_progress_bar=False)
        return unit(np.asarray(made, dtype=np.float32)).reshape(len(texts), -1)


def _imported(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise MissingExtra() from error
