"""Decides whether the answer to one question may be given to another."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentinella_plugins.cache.features import features
from sentinella_plugins.cache.guards import refusal
from sentinella_plugins.cache.lexicon import DATA
from sentinella_plugins.cache.reading import LONGEST, read
from sentinella_plugins.kernel.errors import SettingsError
from sentinella_plugins.vectors.models import Encoding


class DamagedVerifier(SettingsError):
    """A file of the cache's verifier is missing or not what its card names. Install Sentinella again."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """`score` is the calibrated probability that one answer serves both questions, 0 where `guard` names the
    rule that refused."""

    score: float
    guard: str | None = None


class Verifier:
    """Symmetric, deterministic and thread-safe. `serve` is the least score worth serving."""

    def __init__(self, folder: Path = DATA) -> None:
        """Raises `DamagedVerifier`."""
        card = _checked(folder)
        self.serve: float = card["serve"]
        scale = card["calibration"]
        with np.load(folder / "verifier.npz", allow_pickle=False) as held:
            self._knots, weights, offset = held["knots"], held["weights"], float(held["offset"])
        self._weights = weights * scale["slope"]
        self._offset = offset * scale["slope"] + scale["shift"]
        self._pull = scale["pull"] * scale["slope"]

    def judge(self, asked: Encoding, kept: Encoding) -> Judgement:
        if asked.text == kept.text:
            return Judgement(1.0)
        if max(len(asked.text), len(kept.text)) > LONGEST:
            return Judgement(0.0, "length")
        one, other = read(asked.text), read(kept.text)
        guard = refusal(one, other)
        if guard:
            return Judgement(0.0, guard)
        found = features(asked, kept, one, other)
        total = (
            float(hinges(found[None], self._knots)[0] @ self._weights) + self._offset + self._pull * found[0]
        )
        return Judgement(1 / (1 + math.exp(-min(max(total, -50.0), 50.0))))


def hinges(inputs: NDArray[np.float64], knots: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, features) and knots (k, features) → (n, features * (k - 1)): each feature cut into the lengths it
    covers between neighbouring knots."""
    low, high = knots[:-1, :], knots[1:, :]
    covered = np.clip(inputs[:, None, :], low, high) - low
    return covered.reshape(len(inputs), -1)


def _checked(folder: Path) -> Mapping[str, Any]:
    try:
        card: Mapping[str, Any] = json.loads((folder / "card.json").read_text())
        found = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in card["sha256"]}
        if found == card["sha256"]:
            return card
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedVerifier(f"The verifier in {folder} cannot be read: {error}.") from error
    raise DamagedVerifier
