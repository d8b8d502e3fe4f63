"""A summary without a model: the sentences that say most of what was said, in their order.

A sentence counts by its nearness to the words of the whole (the cosine of term weights to their centroid), by
who said it, and by standing first in its message.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

_SENTENCE = re.compile(r"(?<=[.!?])\s+|(?<=[\u3002\uff01\uff1f])|\n+")
_WORD = re.compile(r"[^\W_]+")
_LONGEST = 300
_MOST = 2_000
_WEIGHTS = {"user": 1.3, "assistant": 1.0}
_OTHERS = 0.6
_FIRST = 1.2
_MIN_WORDS = 2


@dataclass(frozen=True, slots=True)
class Line:
    role: str
    text: str
    weight: float


def extract(old: str | None, said: Sequence[tuple[str, str]], max_chars: int) -> str:
    """At most `max_chars`, half of it of the `old` summary when there is one. `said` is (role, text)."""
    kept = _pick([Line("", text, 1.0) for text in (old or "").splitlines() if text.strip()], max_chars // 2)
    new = _pick(_lines(said), max_chars - sum(len(text) + 1 for text in kept))
    return "\n".join([*kept, *new])


def _lines(said: Sequence[tuple[str, str]]) -> list[Line]:
    lines = []
    for role, text in said:
        weight = _WEIGHTS.get(role, _OTHERS)
        sentences = (part.strip() for part in _SENTENCE.split(text))
        for place, sentence in enumerate(part for part in sentences if part):
            shown = f"{role}: {sentence[:_LONGEST]}"
            lines.append(Line(role, shown, weight * (_FIRST if place == 0 else 1.0)))
    return lines[-_MOST:]


def _pick(lines: Sequence[Line], max_chars: int) -> list[str]:
    if sum(len(line.text) + 1 for line in lines) <= max_chars:
        return [line.text for line in lines]
    left = max_chars
    chosen: list[int] = []
    scores = _scores(lines)
    telling = [at for at, score in enumerate(scores) if score > 0] or range(len(lines))
    for at in sorted(telling, key=lambda at: -scores[at]):
        if len(lines[at].text) < left:
            chosen.append(at)
            left -= len(lines[at].text) + 1
    return [lines[at].text for at in sorted(chosen)]


def _scores(lines: Sequence[Line]) -> list[float]:
    words = [Counter(_WORD.findall(line.text.lower())) for line in lines]
    spread = Counter(word for counts in words for word in counts)
    weigh = {word: math.log(1 + len(lines) / count) for word, count in spread.items()}
    vectors = [{word: n * weigh[word] for word, n in counts.items()} for counts in words]
    centroid: Counter[str] = Counter()
    for vector in vectors:
        centroid.update(vector)
    length = _length(centroid) or 1.0
    return [
        line.weight * _likeness(vector, centroid) / length if len(vector) > _MIN_WORDS else 0.0
        for line, vector in zip(lines, vectors, strict=True)
    ]


def _likeness(vector: dict[str, float], centroid: Counter[str]) -> float:
    return sum(value * centroid[word] for word, value in vector.items()) / (_length(vector) or 1.0)


def _length(vector: dict[str, float] | Counter[str]) -> float:
    return math.sqrt(sum(value * value for value in vector.values()))
