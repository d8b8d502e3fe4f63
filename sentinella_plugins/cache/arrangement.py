"""Which word stands where in a text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

from sentinella_plugins.cache.lexicon import lexicon, vocabulary

_POINTING = vocabulary("""
    to into from than over by for with without against onto toward towards before during after until on
    about inside outside alongside instead following out
""")
PERSONS = frozenset(["me", "him", "her", "them", "us", "you"])
_PARTICLES = frozenset(["up", "down", "out", "off", "away", "back", "over"])
_LISTING = frozenset(["and", "or", "vs", "versus", "between", "both", "either", "&", "with"])
_HELPING = frozenset(["do", "does", "did", "can", "could", "will", "would", "should", "may", "must"])
_BEING = frozenset(["is", "are", "was", "were", "has", "have", "had"])
_BE = frozenset(["be", "been", "being", "am", "is", "are", "was", "were", "i'm", "get", "gets", "got"])
_HAVE = frozenset(["have", "has", "had", "i've", "you've", "we've", "they've"])
_UNCHANGED = vocabulary("run come become put set read let cut hit cost shut hurt split spread")
"""Verbs whose participle is the verb."""

_SUBJECTS = vocabulary("i you we they he she it who one people there")
_ADJECTIVES = vocabulary("started supposed born married engaged needed required allowed")
_DETERMINERS = vocabulary("the a an my your our their his her its this that")
_COMPARED = vocabulary("difference differences between compare compared better best vs versus prefer")


@dataclass(frozen=True, slots=True)
class Word:
    text: str
    stem: str
    content: bool
    named: bool


@dataclass(frozen=True, slots=True)
class Arrangement:
    """Of stems. `content` in order, each once. `pointed`: a word of content, a number or a person and what
    points at it ("from", "than"), "to_it" where "to" surely begins no infinitive. `listed`: pairs of which
    the order says nothing ("A and B"). `forms`: what stands before a word makes of it, were it a verb, and
    the subject that it would have. `joints`: neighbours and the "and" or "or" between them. `particles`: a
    word and the particle after it. `asked`: of "what does X eat" X, of "what eats X" eat."""

    content: tuple[str, ...]
    pointed: Mapping[str, frozenset[str]]
    listed: frozenset[frozenset[str]]
    forms: Mapping[str, tuple[str, str]]
    joints: Mapping[tuple[str, str], str]
    particles: Mapping[str, str]
    asked: str


def arrange(words: Sequence[Word], lowered: Sequence[str]) -> Arrangement:
    """`lowered` are the texts of the words in lower case."""
    pairs = list(zip(words, lowered, strict=True))
    return Arrangement(
        content=tuple(dict.fromkeys(word.stem for word in words if word.content)),
        pointed=_pointed(pairs),
        listed=frozenset(_listed(pairs)),
        forms=_forms(pairs),
        joints={} if _COMPARED.intersection(lowered) else dict(_joints(pairs)),
        particles=dict(_particles(pairs)),
        asked=_asked(words, lowered),
    )


def _pointed(pairs: Sequence[tuple[Word, str]]) -> dict[str, frozenset[str]]:
    found: dict[str, frozenset[str]] = {}
    marker, sure = "", False
    for word, low in pairs:
        if low in _POINTING:
            marker, sure = low, False
        elif word.content or low[:1].isdigit() or low in PERSONS:
            if marker:
                marks = (marker, "to_it") if marker == "to" and sure else (marker,)
                found[word.stem] = found.get(word.stem, frozenset()).union(marks)
            marker = ""
        else:
            sure = sure or low in _DETERMINERS
    return found


def _listed(pairs: Sequence[tuple[Word, str]]) -> Iterator[frozenset[str]]:
    held = [(word, low) for word, low in pairs if word.content or low in _LISTING]
    for place, (_, low) in enumerate(held):
        if low in _LISTING:
            near = {word.stem for word, _ in held[max(0, place - 2) : place + 3] if word.content}
            yield from map(frozenset, combinations(sorted(near), 2))


def _forms(pairs: Sequence[tuple[Word, str]]) -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    before, subject = "", ""
    for word, low in pairs:
        if word.content:
            form = _form(low, before)
            if form:
                found.setdefault(word.stem, (form, subject))
            subject = word.stem
        elif low in _SUBJECTS:
            subject = low
        before = low
    return found


def _form(word: str, before: str) -> str:
    if word in _ADJECTIVES or before in _DETERMINERS or (before in _POINTING and before != "to"):
        return ""
    participle = word.endswith("ed") or word in lexicon().irregular
    if before in _BE:
        return "is done" if participle else "is" if word.endswith("ing") else ""
    if before in _HAVE:
        return "has" if participle or word in _UNCHANGED else ""
    return "" if participle else "does"


def _joints(pairs: Sequence[tuple[Word, str]]) -> Iterator[tuple[tuple[str, str], str]]:
    held = [(word, low) for word, low in pairs if word.content or low in ("and", "or")]
    for (before, _), (word, low), (after, _) in zip(held, held[1:], held[2:], strict=False):
        if not word.content:
            yield (before.stem, after.stem), low


def _particles(pairs: Sequence[tuple[Word, str]]) -> Iterator[tuple[str, str]]:
    for (word, _), (_, after) in pairwise(pairs):
        if word.content and after in _PARTICLES:
            yield word.stem, after


def _asked(words: Sequence[Word], lowered: Sequence[str]) -> str:
    if lowered[:1] not in (["who"], ["what"], ["which"]) or not _BEING.isdisjoint(lowered):
        return ""
    lead = next((place for place, low in enumerate(lowered) if low in _HELPING), 0)
    return next((word.stem for word in words[lead + 1 :] if word.content), "")
