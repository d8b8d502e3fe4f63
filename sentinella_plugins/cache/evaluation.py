"""How well the cache decides on pairs of questions of which it is known whether one answer serves both."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sentinella_plugins.cache.courtesy import asked_of
from sentinella_plugins.cache.models import Judge
from sentinella_plugins.kernel.errors import SettingsError
from sentinella_plugins.vectors.models import Encoding

PRECISIONS = (0.90, 0.93, 0.95)
Floats = NDArray[np.float64]


class BadPairs(SettingsError):
    """A file of pairs cannot be read. A line is `{"a": text, "b": text, "same": 0 or 1, "source": text}`."""


class Encodes(Protocol):
    def encode(self, texts: Sequence[str]) -> Sequence[Encoding]: ...


@dataclass(frozen=True, slots=True)
class Pair:
    a: str
    b: str
    same: bool
    source: str


@dataclass(frozen=True, slots=True)
class Decided:
    """`score` is 0 where a guard refused or the cosine is below the floor."""

    cosine: float
    score: float
    guard: str | None
    ms: float


def read_pairs(files: Iterable[Path]) -> list[Pair]:
    """From `.jsonl` and `.jsonl.gz`. Raises `BadPairs`."""
    return [pair for file in files for pair in _lines(file)]


def decide(pairs: Sequence[Pair], encoder: Encodes, judge: Judge, threshold: float) -> list[Decided]:
    """As the cache would, with one candidate per question. `threshold` is the floor of the cosine."""
    encodings: dict[str, Encoding] = {}
    for text in dict.fromkeys(text for pair in pairs for text in (pair.a, pair.b)):
        encodings[text] = _small(encoder.encode([asked_of(text)])[0])
    return [_decided(encodings[pair.a], encodings[pair.b], judge, threshold) for pair in pairs]


def evaluate(
    files: Iterable[Path], encoder: Encodes, judge: Judge, *, threshold: float, confidence: float
) -> dict[str, object]:
    """Per source: precision, recall and share of negatives served at `confidence`, and the recall that a
    sweep of the score reaches at some precisions. Raises `BadPairs`."""
    pairs = read_pairs(files)
    decided = decide(pairs, encoder, judge, threshold)
    sources = {
        source: report(
            [(pair, found) for pair, found in zip(pairs, decided, strict=True) if pair.source == source],
            confidence,
        )
        for source in sorted({pair.source for pair in pairs})
    }
    times = np.array([found.ms for found in decided if found.cosine >= threshold] or [0.0])
    latency = {"p50": _rounded(np.percentile(times, 50)), "p99": _rounded(np.percentile(times, 99))}
    return {"sources": sources, "latency_ms": latency}


def report(rows: Sequence[tuple[Pair, Decided]], confidence: float) -> dict[str, object]:
    same = np.array([pair.same for pair, _ in rows], dtype=bool)
    scores = np.array([found.score for _, found in rows])
    return {"pairs": len(rows), **at(scores, same, confidence), "recall_at_precision": sweep(scores, same)}


def at(scores: Floats, same: NDArray[np.bool_], threshold: float) -> dict[str, float | None]:
    served = scores >= threshold
    return {
        "precision": _share(served & same, served),
        "recall": _share(served & same, same),
        "negatives_served": _share(served & ~same, ~same),
    }


def sweep(
    scores: Floats, same: NDArray[np.bool_], precisions: Sequence[float] = PRECISIONS
) -> dict[str, float | None]:
    """The largest recall at each precision; pairs of equal score are served together."""
    precision, recall = curve(scores, same)
    if not same.any():
        return dict.fromkeys(map("{:.2f}".format, precisions))
    return {f"{wanted:.2f}": _rounded(max(recall[precision >= wanted], default=0.0)) for wanted in precisions}


def curve(scores: Floats, same: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Precision and recall when the best 1, 2, ... distinct scores above 0 are served."""
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    right = np.cumsum(same[order])
    ends = np.append(ranked[1:] != ranked[:-1], True) & (ranked > 0)
    places = np.flatnonzero(ends)
    return right[places] / (places + 1), right[places] / max(int(same.sum()), 1)


def _decided(asked: Encoding, kept: Encoding, judge: Judge, threshold: float) -> Decided:
    asked, kept = _whole(asked), _whole(kept)
    started = time.perf_counter()
    cosine = float(asked.vector @ kept.vector)
    verdict = judge.judge(asked, kept) if cosine >= threshold else None
    ms = (time.perf_counter() - started) * 1000
    if verdict is None:
        return Decided(cosine, 0.0, None, ms)
    return Decided(cosine, 0.0 if verdict.guard else verdict.score, verdict.guard, ms)


def _small(encoding: Encoding) -> Encoding:
    """Half the memory: a file may hold a hundred thousand texts."""
    return replace(encoding, tokens=encoding.tokens.astype(np.float16))


def _whole(encoding: Encoding) -> Encoding:
    return replace(encoding, tokens=encoding.tokens.astype(np.float32))


def _lines(file: Path) -> Iterator[Pair]:
    try:
        with gzip.open(file, "rt") if file.suffix == ".gz" else file.open() as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield _pair(json.loads(line), f"{file}:{number}")
    except (OSError, ValueError) as error:
        raise BadPairs(f"{file} cannot be read: {error}.") from error


def _pair(row: object, place: str) -> Pair:
    match row:
        case {"a": str(a), "b": str(b), "same": 0 | 1 | True | False as same}:
            source = row.get("source", "pairs") if isinstance(row, Mapping) else "pairs"
            return Pair(a, b, bool(same), str(source))
    raise ValueError(f"{place} has no `a`, `b` and `same`")


def _share(part: NDArray[np.bool_], whole: NDArray[np.bool_]) -> float | None:
    return _rounded(part.sum() / whole.sum()) if whole.any() else None


def _rounded(value: float | np.floating[Any]) -> float:
    return round(float(value), 4)
