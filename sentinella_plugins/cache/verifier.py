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
from sentinella_plugins.cache.lexicon import DATA, lexicon
from sentinella_plugins.cache.reading import LONGEST, read
from sentinella_plugins.kernel.errors import SettingsError
from sentinella_plugins.vectors.models import Encoding
from sentinella_plugins.vectors.pairs import PairReader


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
        """Raises `DamagedVerifier`, and `DamagedModel` when it is the reader that is so."""
        card = _checked(folder)
        self.serve: float = card["serve"]
        self._pull: float = card["pull"]
        self._read_from: float = card["read_from"]
        self._alone = Scale(**card["calibration"]["alone"])
        self._together = Scale(**card["calibration"]["together"])
        with np.load(folder / "verifier.npz", allow_pickle=False) as held:
            self._knots, self._weights, self._offset = held["knots"], held["weights"], float(held["offset"])
        self._reader = PairReader()
        lexicon()  # parsed now, not while the first near question waits

    def judge(self, asked: Encoding, kept: Encoding) -> Judgement:
        if asked.text == kept.text:
            return Judgement(1.0)
        if max(len(asked.text), len(kept.text)) > LONGEST:
            return Judgement(0.0, "length")
        one, other = read(asked.text), read(kept.text)
        guard = refusal(one, other)
        if guard:
            return Judgement(0.0, guard)
        total = self._total(asked, kept, self.words(features(asked, kept, one, other)))
        return Judgement(1 / (1 + math.exp(-min(max(total, -50.0), 50.0))))

    def _total(self, asked: Encoding, kept: Encoding, words: float) -> float:
        alone = self._alone.total(words)
        if alone < self._read_from:  # what the reader finds lifts hardly any of these above `serve`
            return alone
        odds = self._reader.read(asked, kept)
        return alone if odds is None else self._together.total(words, odds)

    def words(self, found: NDArray[np.float64]) -> float:
        """What the additive model makes of a pair's features."""
        spread = hinges(found[None], self._knots)[0]
        return float(spread @ self._weights) + self._offset + self._pull * float(found[0])


@dataclass(frozen=True, slots=True)
class Scale:
    """How much each signal counts in the log odds."""

    shift: float
    words: float
    reader: float = 0.0

    def total(self, words: float, odds: float = 0.0) -> float:
        return self.shift + self.words * words + self.reader * odds


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
