"""What the trained decision sees of a pair; symmetric."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from sentinella_plugins.cache.lexicon import FUNCTION, stem, strangers
from sentinella_plugins.cache.reading import Reading
from sentinella_plugins.vectors.models import Encoding, Vector

NAMES = (
    "cosine",
    "mean_far",
    "mean_near",
    "content_far",
    "content_near",
    "least_far",
    "least_near",
    "second_least",
    "lost_far",
    "lost_near",
    "lost_share_far",
    "lost_share_near",
    "weight_far",
    "weight_near",
    "rare_lost",
    "light_lost",
    "replaced",
    "added",
    "same_kind",
    "both_kinds",
    "length_ratio",
    "shortest",
    "shared",
    "order",
    "plain_equal",
    "sorted_equal",
    "partner",
)
"""Of the two sides, `far` is the one that finds less of itself in the other. A word is lost when it and its
synonyms are not in the other question."""

_KINDLESS = ("none", "what", "which")
_sides: WeakKeyDictionary[Encoding, _Side] = WeakKeyDictionary()
"""One text meets many: it is taken apart once, for as long as somebody holds its encoding."""


def features(asked: Encoding, kept: Encoding, one: Reading, other: Reading) -> NDArray[np.float64]:
    """(len(NAMES),)"""
    left, right = _side(asked), _side(kept)
    if not left.words or not right.words:
        return np.zeros(len(NAMES))
    sims = left.vectors @ right.vectors.T
    forth, back = sims.max(1), sims.max(0)
    sides = zip(left.against(forth, right), right.against(back, left), strict=True)
    mean, content, least, lost, share, weight, rare, light = (sorted(pair) for pair in sides)
    lows = np.sort(np.concatenate([forth, back]))
    sizes = sorted((len(left.words), len(right.words)))
    values = [
        float(asked.vector @ kept.vector),
        *mean,
        *content,
        *least,
        float(lows[1]),
        *reversed(lost),
        *reversed(share),
        *reversed(weight),
        rare[1],
        light[1],
        float(lost[0] > 0),
        float(lost[0] == 0 and lost[1] > 0),
        float(one.kind == other.kind),
        float(one.kind not in _KINDLESS and other.kind not in _KINDLESS),
        sizes[0] / sizes[1],
        math.log(sizes[0]),
        len(left.content & right.content) / max(len(left.content | right.content), 1),
        _order(left.stems, right.stems),
        float(one.plain == other.plain),
        float(sorted(left.stems) == sorted(right.stems)),
        _partner(sims, left, right),
    ]
    return np.array(values)


def _side(encoding: Encoding) -> _Side:
    side = _sides.get(encoding)
    if side is None:
        side = _sides[encoding] = _Side(encoding)
    return side


class _Side:
    """The words of one text: word pieces put together again, each with a vector of unit length."""

    def __init__(self, encoding: Encoding) -> None:
        self.words, self.counts, self.vectors = _joined(encoding.pieces, encoding.tokens)
        self.stems = [stem(word) for word in self.words]
        self.all = set(self.stems)
        self.heavy = [place for place, word in enumerate(self.words) if word not in FUNCTION]
        self.content = {self.stems[place] for place in self.heavy}

    def against(self, best: Vector, other: _Side) -> tuple[float, ...]:
        """Mean, mean and least over content words; lost words, their share, weight and longest; light words
        lost."""
        heavy = self.heavy or [0]
        gone = strangers(self.content - other.all, other.content)
        lost = [place for place in self.heavy if self.stems[place] in gone]
        chosen = best[heavy]
        return (
            float(best.mean()),
            float(chosen.mean()),
            float(chosen.min()),
            float(len(lost)),
            len(lost) / len(heavy),
            float((1 - best[lost]).sum()),
            float(max((self.counts[place] for place in lost), default=0)),
            float(len((self.all - self.content) - other.all)),
        )


def _joined(pieces: Sequence[str], tokens: Vector) -> tuple[list[str], list[int], Vector]:
    """Words, how many pieces each has, and their vectors."""
    starts = [place for place, piece in enumerate(pieces) if not place or not piece.startswith("##")]
    if not starts:
        return [], [], tokens[:0]
    ends = [*starts[1:], len(pieces)]
    words = ["".join(pieces[start:end]).replace("##", "") for start, end in zip(starts, ends, strict=True)]
    keep = [place for place, word in enumerate(words) if word[:1].isalnum()]
    sums = np.add.reduceat(tokens, starts, axis=0)[keep]
    vectors = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9)
    return [words[place] for place in keep], [ends[place] - starts[place] for place in keep], vectors


def _partner(sims: Vector, left: _Side, right: _Side) -> float:
    """How near the words are that have no equal on the other side."""
    mine = [place for place in left.heavy if left.stems[place] not in right.all]
    yours = [place for place in right.heavy if right.stems[place] not in left.all]
    if not mine and not yours:
        return 1.0
    if not mine or not yours:
        return 0.0
    part = sims[np.ix_(mine, yours)]
    return float(min(part.max(1).min(), part.max(0).min()))


def _order(one: list[str], other: list[str]) -> float:
    """Share of neighbours among shared words that come in the same order, of both ways the lower."""
    return min(_ordered(one, other), _ordered(other, one))


def _ordered(one: list[str], other: list[str]) -> float:
    place = {word: number for number, word in enumerate(other)}
    shared = [place[word] for word in dict.fromkeys(one) if word in place]
    if len(shared) < 2:
        return 1.0
    return sum(a < b for a, b in pairwise(shared)) / (len(shared) - 1)
