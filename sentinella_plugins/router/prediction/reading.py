"""From a prompt to numbers: how hard it is, how long its answer gets, and where it lies among prompts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sentinella_plugins.router.prediction.artefact import Arrays
from sentinella_plugins.router.prediction.kinds import KINDS, Kind
from sentinella_plugins.router.prediction.structure import NAMES, Structure

Floats = NDArray[np.float64]
# The head of a prompt's values; what follows places the prompt among others.
DIFFICULTY, TOKENS, SHARPNESS, COMPLEXITY, LANGUAGE, KIND = range(6)
HEAD = 6
_FEW_OPTIONS = 5
_EASIER_WITH_FEW = 1.0
_MOST_SPREAD = 2.5
_LESS_SHARP = 0.08
_CHARACTERS = NAMES.index("characters")


def standardised(counts: Floats, mean: Floats, scale: Floats) -> Floats:
    return np.clip((counts - mean) / scale, -3.0, 3.0)


class Reading:
    """Difficulties are in logits: a model whose ability is as much answers well every second time.

    Multiple choice: kernel regression on the embedding, trained on questions that need no calculation, and
    length. The other kinds: ridge regression on structure, within the kind.
    """

    def __init__(self, arrays: Arrays) -> None:
        self._arrays = arrays
        self._landmarks = np.ascontiguousarray(arrays["landmarks"], dtype=np.float32)
        self._norms = (self._landmarks**2).sum(1)
        self._kernel = np.ascontiguousarray(arrays["kernel"], dtype=np.float32)
        self._mean = arrays["vector_mean"].astype(np.float32)
        self._axes = np.ascontiguousarray(arrays["axes"].T, dtype=np.float32)
        self._wide = np.ascontiguousarray(arrays["wide_axes"].T, dtype=np.float32)
        self.axes: int = self._wide.shape[0]
        self.places: int = 1 + self.axes + len(arrays["structure_mean"])

    def values(
        self, seen: Structure, kind: Kind, vector: NDArray[np.float32] | None, language: int
    ) -> NDArray[np.float32]:
        """(d,) float32: the head, difficulty around its kind's mean, the place among the embeddings of all
        prompts, the structure."""
        around = None if vector is None or vector.shape != self._mean.shape else vector - self._mean
        arrays, index = self._arrays, KINDS.index(kind)
        structure = standardised(seen.counts, arrays["structure_mean"], arrays["structure_scale"])
        within = standardised(seen.counts, arrays["kind_mean"][index], arrays["kind_scale"][index])
        hard, sharp = self._hard(kind, within, structure, around)
        base = float(arrays["kind_base"][index])
        if kind == "choice" and seen.options <= _FEW_OPTIONS:
            base -= _EASIER_WITH_FEW
        tokens = float(arrays["tokens_base"][index] + within @ arrays["tokens_weights"][index])
        values = np.zeros(HEAD + self.places, dtype=np.float32)
        values[DIFFICULTY] = base + hard
        values[TOKENS] = min(max(tokens, 2.0), 8.3)
        values[SHARPNESS] = sharp
        values[COMPLEXITY] = 1.0 / (1.0 + np.exp(-(base + hard + 0.5)))
        values[LANGUAGE], values[KIND], values[HEAD] = language, index, hard
        if around is not None:
            values[HEAD + 1 : HEAD + 1 + self.axes] = (self._wide @ around) * float(arrays["place_scale"])
        values[HEAD + 1 + self.axes :] = structure
        return values

    def _hard(
        self, kind: Kind, within: Floats, structure: Floats, around: NDArray[np.float32] | None
    ) -> tuple[float, float]:
        """Logits around the kind's mean, and how sharply abilities tell: less where a calculation is to be
        answered with a letter."""
        arrays = self._arrays
        if kind != "choice" or around is None:
            hard = float(within @ arrays["kind_weights"][KINDS.index(kind)])
        else:
            length = float(arrays["length_weight"]) * float(within[_CHARACTERS])
            hard = self._similar(self._axes @ around) + length
        calculation = float(structure @ arrays["calculation"]) if kind == "choice" else 0.0
        return min(max(hard, -_MOST_SPREAD), _MOST_SPREAD), min(
            max(1.0 - _LESS_SHARP * calculation, 0.6), 1.2
        )

    def _similar(self, place: NDArray[np.float32]) -> float:
        distances = self._norms - 2.0 * (self._landmarks @ place) + float(place @ place)
        return float(np.exp(-distances) @ self._kernel)
