"""What a guard sees of a text."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from sentinella_plugins.cache.arrangement import Arrangement, Word, arrange
from sentinella_plugins.cache.lexicon import (
    DATES,
    FORMATS,
    FUNCTION,
    NEGATIONS,
    NUMBER_WORDS,
    UNITS,
    stem,
)
from sentinella_plugins.cache.marks import Marks, marks

LONGEST = 2_000
"""Characters; the encoder sees hardly more, so that longer texts are only served to themselves."""

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
_NUMBER = re.compile(
    r"(?<![\w.])(\d[\d,]*(?:\.\d+)?)(?:(st|nd|rd|th|k|m|bn|%)(?![a-z]))?(?![a-z]*\d)|([a-z]+)"
)
_NO_NUMBER = re.compile(r"\bsecond[- ]hand\b")
_UNCOUNTED = frozenset(["double", "couple", "pair"])
"""Number words that often count nothing: "double the letter"."""

_QUOTED = re.compile(
    r"[\"\u201c\u201d\u00ab\u00bb]([^\"\u201c\u201d\u00ab\u00bb]{1,200})[\"\u201c\u201d\u00ab\u00bb]"
    r"|(?<!\w)'([^'\n]{1,100})'(?!\w)"
)
_CODE = re.compile(
    r"`[^`]+`|https?://\S+|\S+@\S+\.\w+|\b\w+(?:\.\w+)*\(\)|\b\w+_\w+\b|\b[a-z]{2,}[A-Z]\w*\b"
    r"|(?<!\w)--?[a-zA-Z][\w-]+|\b\w+(?:::|->)\w+|(?<!\w)[.~]{0,2}/[\w.-]+(?:/[\w.-]+)*|[<>=!]=|\b[cC](?:\+\+|#)"
    r"|\b[\w-]+\.(?:com|org|net|io|py|js|ts|java|exe|json|csv|pdf|txt|md|yaml|yml|sql|sh)\b"
)
_SIGNS = re.compile(
    r"[^\s?]*[\^=][^\s?]*|\w+\((?!e?s\))[^\s?()]{1,3}\)|(?<=\s)[<>]{1,2}(?=\s)|(?<!\w)-\d[^\s?]*"
)
_FRONTED = re.compile(
    r"^(?:when|while|if|in|on|at|for|after|before|since|as|with|during|hi|hello)\b[^?.!]*?,\s*"
)
_TIMES = {"k": 10**3, "m": 10**6, "bn": 10**9}
_KINDS = (
    ("count", r"how (?:many|often|frequently)\b"),
    ("amount", r"how much\b|what (?:is|are|was|will be|would be) the (?:\w+ )?(?:cost|price|salary|fee)"),
    ("extent", r"how (?:long|far|old|big|large|tall|high|deep|fast|heavy|wide|hot|cold|small|good)\b"),
    ("reason", r"why\b|how come\b|what (?:is|are|was) the (?:\w+ )?(?:reasons?|causes?)\b|what causes?\b"),
    ("when", r"when\b|what (?:time|year|date|day)\b"),
    ("where", r"where\b|(?:in|at|from) (?:what|which) (?:place|country|city)\b"),
    ("who", r"who(?:m|se)?\b"),
    ("which", r"which\b|what (?:\w+ ){0,3}(?:should|would|can) i\b"),
    ("how", r"how\b|what (?:is|are|would be) (?:\w+ ){0,4}(?:ways?|methods?|steps|tips|process|procedure)\b"),
    ("what", r"what\b|whats\b|define\b"),
    ("ability", r"(?:can|could)(?:n'?t)?\b|(?:is|are) (?:it|there) (?:possible|any|a) (?:ways?|to)\b"),
    ("polar", r"(?:is|are|am|was|were|do|does|did|will|would|should|has|have|had|may|might|must)(?:n'?t)?\b"),
)  # fmt: skip
_KIND = [(name, re.compile(pattern)) for name, pattern in _KINDS]


@dataclass(frozen=True, slots=True)
class Reading:
    """`numbers` are in the text's order; `code` counts how often each occurs."""

    plain: str
    words: tuple[Word, ...]
    stems: frozenset[str]
    numbers: tuple[float, ...]
    units: frozenset[str]
    dates: frozenset[str]
    formats: frozenset[str]
    negations: int
    quotes: frozenset[str]
    code: Counter[str]
    scripts: frozenset[str]
    kind: str
    marks: Marks
    order: Arrangement
    shouted: bool


@lru_cache(maxsize=512)  # 8 kB each, of the longest texts 80 kB
def read(text: str) -> Reading:
    """Of a text of at most `LONGEST` characters."""
    text = unicodedata.normalize("NFKC", text.encode("utf-8", "replace").decode("utf-8")).replace(
        "\u2019", "'"
    )
    words = tuple(_words(text))
    lowered = [word.text.lower() for word in words]
    plain = " ".join(lowered)
    return Reading(
        plain=plain,
        words=words,
        stems=frozenset(word.stem for word in words),
        numbers=tuple(_numbers(text)),
        units=frozenset(_units(text.lower(), lowered)),
        dates=frozenset(stem(word) for word in lowered if word in DATES),
        formats=frozenset(stem(word) for word in lowered if word in FORMATS),
        negations=_negations(plain),
        quotes=frozenset(_simple(one or other) for one, other in _QUOTED.findall(text)) - {""},
        code=Counter(_code(text)),
        scripts=frozenset(_script(letter) for letter in set(text) if letter.isalpha()),
        kind=_kind(text.lower()),
        marks=marks(plain),
        order=arrange(words, lowered),
        shouted=_shouted(words),
    )


def _words(text: str) -> Iterator[Word]:
    starts = True
    end = 0
    for found in _WORD.finditer(text):
        starts = starts or bool(re.search(r"[.?!:\n]", text[end : found.start()]))
        end = found.end()
        yield _word(found.group(), starts)
        starts = False


def _word(written: str, first: bool) -> Word:
    low = written.lower()
    bare = low.replace("'", "")
    low = low.split("'")[0] if low.endswith(("'s", "'re", "'ve", "'ll", "'m", "'d")) else low
    content = not (low in FUNCTION or bare in FUNCTION or bare in NEGATIONS or low in NUMBER_WORDS)
    content = content and not low.replace(",", "").isdigit()
    inner = any(letter.isupper() for letter in written[1:]) or (
        any(letter.isdigit() for letter in low) and any(letter.isalpha() for letter in low)
    )
    named = content and (inner or (written[0].isupper() and not first))
    return Word(written, stem(low), content, named)


def _shouted(words: tuple[Word, ...]) -> bool:
    """Capitals Tell Nothing In Such A Text."""
    content = [word for word in words[1:] if word.content]
    return len(content) > 3 and sum(word.text[0].isupper() for word in content) > 0.75 * len(content)


def _numbers(text: str) -> Iterator[float]:
    """In the text's order, without ones: "a kilo" is one kilo."""
    for digits, suffix, word in _NUMBER.findall(_NO_NUMBER.sub(" ", text.lower())):
        value = 1.0
        if digits:
            whole, _, rest = digits.partition(".")
            value = float(f"{whole.replace(',', '')[:300] or '0'}.{rest[:20] or '0'}")
            value *= _TIMES.get(suffix, 1)
        elif word not in _UNCOUNTED:
            value = NUMBER_WORDS.get(word, 1.0)
        if value != 1:
            yield value


def _units(text: str, words: list[str]) -> Iterator[str]:
    yield from (UNITS[sign] for sign in "$€£₹¥%" if sign in text)
    for before, word in zip(["", *words], words, strict=False):
        counted = before[:1].isdigit() or before in NUMBER_WORDS or len(word) > 5
        if word in UNITS and (
            counted or word in ("usd", "eur", "gbp", "inr", "jpy", "btc", "kg", "cm", "km")
        ):
            yield UNITS[word]
        elif word[:1].isdigit() and word.lstrip("0123456789.,") in UNITS:
            yield UNITS[word.lstrip("0123456789.,")]


def _negations(plain: str) -> int:
    plain = plain.replace("rather than", "instead of")
    plain = re.sub(r"\bnot only\b|\bwhether or not\b", " ", plain)
    plain = re.sub(r"\b\w+n't (?:it|i|you|he|she|they|we)$", " ", plain)
    return sum(word.replace("'", "") in NEGATIONS or word.endswith("n't") for word in plain.split())


def _simple(text: str) -> str:
    return " ".join(word.lower() for word in _WORD.findall(text))


def _kind(text: str) -> str:
    """Of the clause that asks: "when it rains, why ..."."""
    for part in (_FRONTED.sub("", text), text):
        plain = _simple(part)
        found = next((name for name, pattern in _KIND if pattern.match(plain)), None)
        if found:
            return found
    return "none"


def _code(text: str) -> Iterator[str]:
    yield from (found.rstrip("?.,!;:()").lower() for found in _CODE.findall(text))
    yield from (
        found.rstrip("?.,!;:").lower() for found in _SIGNS.findall(re.sub(r"\s*([\^=])\s*", r"\1", text))
    )


@lru_cache(maxsize=8_192)
def _script(letter: str) -> str:
    return unicodedata.name(letter, "UNKNOWN").split(" ")[0]
