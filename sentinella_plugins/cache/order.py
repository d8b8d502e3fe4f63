"""Rules about which word stands where."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

from sentinella_plugins.cache.arrangement import PERSONS
from sentinella_plugins.cache.lexicon import vocabulary
from sentinella_plugins.cache.reading import Reading

_WAYS = [
    frozenset(pair.split("/"))
    for pair in vocabulary("""
        from/to from/into from/alongside from/until from/by to/out into/out before/after before/during
        before/following after/during during/following until/after until/before for/against with/against
        for/with inside/outside to_it/by to_it/about
    """)
]
_WAYS_OF_NUMBERS = [*_WAYS, frozenset(["by", "to"])]
_WAYS_OF_PERSONS = [*_WAYS, frozenset(["by", "with"])]
_OTHER_FORMS = ({"has", "is"}, {"has", "is done"}, {"has", "does"}, {"is done", "does"}, {"is done", "is"})
_EVEN = frozenset(["and", "or", "times", "plus", "between", "vs", "versus", "multiplied"])
_NONE: frozenset[str] = frozenset()
Turned = Sequence[tuple[str, str]]


def roles(one: Reading, other: Reading) -> bool:
    """Two shared words changed places, and their order matters: names, words pointed at ("than X"), the two
    ends of a third ("dog bites man"), what is said to be what ("is every square a rectangle"), or who does it
    and to whom it is done ("what eats X", "what does X eat")."""
    first, second = one.order.content, other.order.content
    turned = [
        pair
        for pair in _turned(first, second)
        if frozenset(pair) not in one.order.listed and frozenset(pair) not in other.order.listed
    ]
    return bool(turned) and (
        _points_turned(turned, one, other)
        or _names_turned(turned, one, other)
        or _ends_turned(turned, first, second)
        or (_is(one) and _is(other) and _swapped(first, second))
        or _subjects_turned(turned, one, other)
    )


def sequence(one: Reading, other: Reading) -> bool:
    """As many numbers, in another order: "0 divided by 5"."""
    if len(one.numbers) != len(other.numbers) or one.numbers == other.numbers:
        return False
    return not any(word.text.lower() in _EVEN for word in one.words)


def directions(one: Reading, other: Reading) -> bool:
    """From it or to it, before it or after it, for it or against it."""
    first, second = one.order.pointed, other.order.pointed
    return any(
        pair & (first[word] - second[word]) and pair & (second[word] - first[word])
        for word in first.keys() & second.keys()
        if first[word] != second[word]
        for pair in _ways(word)
    )


def particles(one: Reading, other: Reading) -> bool:
    """To throw up and to throw out."""
    first, second = one.order.particles, other.order.particles
    return any(first[verb] != second[verb] for verb in first.keys() & second.keys())


def voices(one: Reading, other: Reading) -> bool:
    """Who does it and who it is done to ("who can sue", "who can be sued"), what is going on and what is done
    ("are running", "have run"): of the same subject."""
    first, second = one.order.forms, other.order.forms
    shared = [(first[verb], second[verb]) for verb in first.keys() & second.keys()]
    return any(mine[1] == theirs[1] and {mine[0], theirs[0]} in _OTHER_FORMS for mine, theirs in shared)


def junctions(one: Reading, other: Reading) -> bool:
    """A and B, or A or B, where nothing is compared."""
    first, second = one.order.joints, other.order.joints
    return any(first[pair] != second[pair] for pair in first.keys() & second.keys())


def _turned(first: Sequence[str], second: Sequence[str]) -> Iterator[tuple[str, str]]:
    place = {word: number for number, word in enumerate(second)}
    shared = [word for word in first if word in place][:40]
    return (pair for pair in combinations(shared, 2) if place[pair[0]] > place[pair[1]])


def _points_turned(turned: Turned, one: Reading, other: Reading) -> bool:
    first, second = one.order.pointed, other.order.pointed
    return any(
        first.get(right, _NONE) & second.get(left, _NONE) or first.get(left, _NONE) & second.get(right, _NONE)
        for left, right in turned
    )


def _names_turned(turned: Turned, one: Reading, other: Reading) -> bool:
    named = {word.stem for reading in (one, other) for word in reading.words if word.named}
    return any(set(pair) <= named and _apart(one, *pair) and _apart(other, *pair) for pair in turned)


def _apart(reading: Reading, one: str, other: str) -> bool:
    stems = [word.stem for word in reading.words]
    return abs(stems.index(one) - stems.index(other)) > 2


def _ends_turned(turned: Turned, first: Sequence[str], second: Sequence[str]) -> bool:
    if set(first) != set(second) or _moved(first, second):
        return False
    return any(
        set(first[first.index(left) + 1 : first.index(right)])
        & set(second[second.index(right) + 1 : second.index(left)])
        for left, right in turned
    )


def _moved(first: Sequence[str], second: Sequence[str]) -> bool:
    """A clause of two words or more was put in front."""
    return any([*first[cut:], *first[:cut]] == [*second] for cut in range(2, len(first) - 1))


def _is(reading: Reading) -> bool:
    return reading.plain.startswith(("is ", "are ", "was ", "were "))


def _swapped(first: Sequence[str], second: Sequence[str]) -> bool:
    """Two words changed places, and nothing else did."""
    return set(first) == set(second) and sum(a != b for a, b in zip(first, second, strict=True)) == 2


def _subjects_turned(turned: Turned, one: Reading, other: Reading) -> bool:
    mine, theirs = one.order.asked, other.order.asked
    return mine != theirs and ((mine, theirs) in turned or (theirs, mine) in turned)


def _ways(word: str) -> Sequence[frozenset[str]]:
    if word[:1].isdigit():
        return _WAYS_OF_NUMBERS
    return _WAYS_OF_PERSONS if word in PERSONS else _WAYS
