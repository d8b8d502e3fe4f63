"""What can be counted in a prompt: its length, numbers, options, code, and words that tell a calculation."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import log1p

import numpy as np
from numpy.typing import NDArray

READ = 3_000
_OPTION = re.compile(r"^[ \t]*\(?([A-J])[.):][ \t]+(.*)$", re.M)
_WORD = re.compile(r"[^\W\d_]+")
_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")
_CODE = re.compile(
    r"```|\bdef \w+\(|\breturn |\bassert |[{};]\s*$|\bimport \w+|==|=>|\bSELECT\b|#include", re.M
)
_LATEX = re.compile(r"\\[a-zA-Z]{2,}|[\^=<>≤≥√∑∫π]")
_SENTENCE_END = re.compile(r"[.!?](?:\s|$)")

_WORDS = {
    "number_words": "one two three four five six seven eight nine ten twelve twenty hundred thousand dozen",
    "fractions": "half halfway third thirds quarter quarters fourth fifth twice double triple ratio average "
    "percent fraction",
    "each": "each per every apiece",
    "total": "total altogether combined sum together",
    "compare": "more less fewer older younger longer shorter taller faster cheaper than",
    "rest": "left remaining remain remains rest after before then initially originally now still",
    "condition": "if when unless only except but however assuming until",
    "time": "minute minutes hour hours day days week weeks month months year years second seconds",
    "quantity": "many much",
    "negation": "not except least never false incorrect no",
    "what": "which what who where whose",
    "derive": "why how explain because prove derive calculate compute determine find evaluate solve",
    "statement": "statement statements following",
}
_CLASS = {word: name for name, words in _WORDS.items() for word in words.split()}
NAMES = (
    *_WORDS,
    "characters",
    "words",
    "sentences",
    "word_length",
    "long_words",
    "numbers",
    "distinct_numbers",
    "largest_number",
    "decimals",
    "latex",
    "code",
    "blanks",
    "capitals",
    "questions",
    "options",
    "option_length",
    "option_spread",
    "number_options",
    "money",
    "percent",
    "commas",
    "lines",
    "distinct_words",
    "pieces_per_word",
    "not_ascii",
    "turns",
)


@dataclass(frozen=True, slots=True, eq=False)
class Structure:
    """`counts` (d,) float64 are named by `NAMES`."""

    counts: NDArray[np.float64]
    options: int
    numbers: int
    code: int
    latex: int
    quantity: int
    words: frozenset[str]

    def of(self, name: str) -> float:
        return float(self.counts[_INDEX[name]])


_INDEX = {name: index for index, name in enumerate(NAMES)}


def question(text: str) -> str:
    """The last question of a prompt that begins with answered examples."""
    if text.count("Answer:") < 2:
        return text
    last = re.split(r"\n\s*\n", text.rstrip())[-1]
    return last if len(last) > 20 else text


def structure(text: str, pieces: Sequence[str] = (), messages: int = 1) -> Structure:
    """Reads the first and last 1,500 characters of a long text."""
    text = question(text)
    length = len(text)
    if length > READ:
        text = f"{text[: READ // 2]}\n{text[-READ // 2 :]}"
    options = _OPTION.findall(text)
    stem = text[: text.find(options[0][1])] if len(options) > 1 else text
    chosen = [option for _, option in options]
    words = _WORD.findall(stem)
    lower = [word.lower() for word in words]
    numbers = _NUMBER.findall(stem)
    classes = Counter(map(_CLASS.get, lower))
    latex, code = len(_LATEX.findall(text)), len(_CODE.findall(text))
    many = max(1, len(words))
    lengths = [len(option) for option in chosen] or [0]
    mean = sum(lengths) / len(lengths)
    stretch = length / max(1, len(text))
    counted = [
        *(log1p(classes[name]) for name in _WORDS),
        log1p(len(stem) * stretch),
        log1p(len(words) * stretch),
        log1p(len(_SENTENCE_END.findall(stem))),
        sum(map(len, words)) / many,
        sum(len(word) > 8 for word in words) / many,
        log1p(len(numbers)),
        log1p(len(set(numbers))),
        log1p(max(map(_value, numbers), default=0.0)),
        log1p(sum("." in number for number in numbers)),
        log1p(latex),
        log1p(code),
        log1p(stem.count("__")),
        sum(word[0].isupper() for word in words) / many,
        log1p(stem.count("?")),
        log1p(len(chosen)),
        log1p(mean),
        log1p((sum((one - mean) ** 2 for one in lengths) / len(lengths)) ** 0.5),
        sum(option[:1].isdigit() or option[:1] in "$-" for option in chosen) / max(1, len(chosen)),
        log1p(text.count("$")),
        log1p(stem.count("%")),
        log1p(stem.count(",")),
        log1p(text.count("\n")),
        len(set(lower)) / many,
        sum(piece.startswith("##") for piece in pieces) / max(1, len(pieces)),
        0.0 if stem.isascii() else sum(not letter.isascii() for letter in stem) / len(stem),
        log1p(messages),
    ]
    return Structure(
        counts=np.array(counted),
        options=len(chosen),
        numbers=len(numbers) + classes["number_words"] + classes["fractions"],
        code=code,
        latex=latex,
        quantity=classes["quantity"] + classes["total"],
        words=frozenset(lower),
    )


def _value(number: str) -> float:
    return float(number.replace(",", "")[:12])
