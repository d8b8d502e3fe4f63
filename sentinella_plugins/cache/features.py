"""What the trained decision sees of a pair; symmetric."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sentinella_plugins.cache.guards import GUARDS
from sentinella_plugins.cache.lexicon import FUNCTION, alike, opposite, stem
from sentinella_plugins.cache.reading import Reading
from sentinella_plugins.vectors.models import Encoding, Vector

NAMES = (
    "cosine", "mean_far", "mean_near", "content_far", "content_near", "least_far", "least_near", "second_least",
    "lost_far", "lost_near", "lost_share_far", "lost_share_near", "weight_far", "weight_near", "rare_lost",
    "light_lost", "swapped", "added", "same_kind", "both_kinds", "length_ratio", "shortest", "shared", "order",
    "plain_equal", "sorted_equal", "opposites", "partner",
)  # fmt: skip
_KINDLESS = ("none", "what", "which")


def features(asked: Encoding, kept: Encoding, one: Reading, other: Reading) -> NDArray[np.float64]:
    """(len(NAMES),)"""
    left, right = _Side(asked), _Side(kept)
    if not left.words or not right.words:
        return np.zeros(len(NAMES))
    sims = left.vectors @ right.vectors.T
    a, b = left.against(sims.max(1), right), right.against(sims.max(0), left)
    both = [sorted(pair) for pair in zip(a, b, strict=True)]
    (mean, content, least, lost, share, weight, light) = both
    lows = sorted([*sims.max(1).tolist(), *sims.max(0).tolist()])
    mutual = _partners(sims, left, right)
    values = [
        float(asked.vector @ kept.vector), mean[0], mean[1], content[0], content[1], least[0], least[1],
        lows[1] if len(lows) > 1 else lows[0], lost[1], lost[0], share[1], share[0], weight[1], weight[0],
        max(left.rarest(right), right.rarest(left)), light[1], float(lost[0] > 0), float(lost[1] > 0 == lost[0]),
        float(one.kind == other.kind), float(one.kind not in _KINDLESS and other.kind not in _KINDLESS),
        min(len(left.words), len(right.words)) / max(len(left.words), len(right.words)),
        math.log(min(len(left.words), len(right.words))), _jaccard(left.content, right.content),
        _order(left.stems, right.stems), float(one.plain == other.plain),
        float(sorted(left.stems) == sorted(right.stems)),
        float(any(opposite(x, y) for x in left.content - right.all for y in right.content - left.all)), mutual,
    ]  # fmt: skip
    return np.array(values)


class _Side:
    """The words of one text: word pieces put together again, each with a vector."""

    def __init__(self, encoding: Encoding) -> None:
        self.words, self.vectors = _joined(encoding.pieces, encoding.tokens)
        self.stems = [stem(word) for word in self.words]
        self.all = set(self.stems)
        self.content = {
            base for word, base in zip(self.words, self.stems, strict=True) if word not in FUNCTION and word.isalnum()
        }
        self.pieces = dict(zip(self.stems, _lengths(encoding.pieces), strict=True))

    def against(self, best: Vector, other: _Side) -> tuple[float, float, float, float, float, float, float]:
        """Mean, mean over content, least over content, lost, share lost, weight lost, light words lost."""
        heavy = [place for place, base in enumerate(self.stems) if base in self.content] or [0]
        lost = [place for place in heavy if self.stems[place] in self.lost(other)]
        light = sum(base not in other.all for base in self.all - self.content)
        return (
            float(best.mean()),
            float(best[heavy].mean()),
            float(best[heavy].min()),
            float(len(lost)),
            len(lost) / len(heavy),
            float(sum(1 - best[place] for place in lost)),
            float(light),
        )

    def lost(self, other: _Side) -> set[str]:
        return {
            word
            for word in self.content - other.all
            if not any(alike(word, held) for held in other.content)
        }

    def rarest(self, other: _Side) -> float:
        return float(max((self.pieces[word] for word in self.lost(other)), default=0))


def _joined(pieces: Sequence[str], tokens: Vector) -> tuple[list[str], Vector]:
    starts = [place for place, piece in enumerate(pieces) if not piece.startswith("##")]
    if not starts:
        return [], tokens[:0]
    starts[0] = 0
    ends = [*starts[1:], len(pieces)]
    words = ["".join(piece.removeprefix("##") for piece in pieces[start:end]) for start, end in zip(starts, ends, strict=True)]
    sums = np.add.reduceat(tokens.astype(np.float32), starts, axis=0)
    keep = [place for place, word in enumerate(words) if word[0].isalnum()]
    sums = sums[keep]
    return [words[place] for place in keep], sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9)


def _lengths(pieces: Sequence[str]) -> list[int]:
    counts: list[int] = []
    for piece in pieces:
        if piece.startswith("##") and counts:
            counts[-1] += 1 if counts[-1] else 0
        else:
            counts.append(1 if piece[:1].isalnum() or piece.startswith("##") else 0)
    return [count for count in counts if count]


def _partners(sims: Vector, left: _Side, right: _Side) -> float:
    """How near the words are that have no equal on the other side."""
    mine = [place for place, base in enumerate(left.stems) if base in left.content and base not in right.all]
    yours = [place for place, base in enumerate(right.stems) if base in right.content and base not in left.all]
    if not mine and not yours:
        return 1.0
    if not mine or not yours:
        return 0.0
    part = sims[np.ix_(mine, yours)]
    return float(min(part.max(1).min(), part.max(0).min()))


def _jaccard(one: set[str], other: set[str]) -> float:
    return len(one & other) / max(len(one | other), 1)


def _order(one: list[str], other: list[str]) -> float:
    """Share of neighbours among shared words that come in the same order."""
    place = {word: number for number, word in enumerate(other)}
    shared = [place[word] for word in dict.fromkeys(one) if word in place]
    if len(shared) < 2:
        return 1.0
    return sum(a < b for a, b in zip(shared, shared[1:], strict=False)) / (len(shared) - 1)


__all__ = ["GUARDS", "NAMES", "features"]
