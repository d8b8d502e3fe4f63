"""Decides whether the answer to one question may be given to another."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from sentinella_plugins.cache.guards import refusal
from sentinella_plugins.cache.lexicon import DATA
from sentinella_plugins.cache.reading import LONGEST, read
from sentinella_plugins.kernel.errors import SettingsError
from sentinella_plugins.vectors.models import Encoding


class DamagedVerifier(SettingsError):
    """A file of the cache's verifier is missing or not the one that its card names. Install Sentinella again."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """`score` is the calibrated probability that one answer serves both questions, 0 where `guard` names the rule
    that refused."""

    score: float
    guard: str | None = None


class Verifier:
    """Symmetric, deterministic and thread-safe. `serve` is the least score worth serving."""

    def __init__(self, folder: Path = DATA) -> None:
        """Raises `DamagedVerifier`."""
        card = _checked(folder)
        self.serve: float = card["serve"]
        self._slope: float = card["calibration"]["slope"]
        self._middle: float = card["calibration"]["middle"]

    def judge(self, asked: Encoding, kept: Encoding) -> Judgement:
        if asked.text == kept.text:
            return Judgement(1.0)
        if max(len(asked.text), len(kept.text)) > LONGEST:
            return Judgement(0.0, "length")
        guard = refusal(read(asked.text), read(kept.text))
        if guard:
            return Judgement(0.0, guard)
        cosine = float(asked.vector @ kept.vector)
        return Judgement(1 / (1 + math.exp(-self._slope * (cosine - self._middle))))


@cache
class LateVerifier:
    """A `Verifier` that reads its files when it is needed first, in the thread that judges."""

    @property
    def serve(self) -> float:
        return _shared().serve

    def judge(self, asked: Encoding, kept: Encoding) -> Judgement:
        """Raises `DamagedVerifier`."""
        return _shared().judge(asked, kept)


@cache
def _shared() -> Verifier:
    return Verifier()


def _checked(folder: Path) -> Mapping[str, Any]:
    try:
        card: Mapping[str, Any] = json.loads((folder / "card.json").read_text())
        found = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in card["sha256"]}
        if found == card["sha256"]:
            return card
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedVerifier(f"The verifier in {folder} cannot be read: {error}.") from error
    raise DamagedVerifier
