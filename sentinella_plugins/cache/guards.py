"""Rules that forbid to serve one question's answer for another, whatever their nearness."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations

from sentinella_plugins.cache.lexicon import alike, opposite
from sentinella_plugins.cache.reading import Reading, Word

Guard = Callable[[Reading, Reading], bool]

_POINTING = frozenset(
    [
        "to",
        "into",
        "from",
        "than",
        "over",
        "by",
        "against",
        "onto",
        "toward",
        "towards",
        "before",
        "during",
        "after",
    ]
)
_MISSPELT = 5
"""Letters of a name that may stand for a longer word: "Maastrich", but not "Java" for JavaScript."""

_WAYS = [
    frozenset(pair.split("/"))
    for pair in ["from/to", "from/into", "before/after", "before/during", "after/during"]
]
_LISTING = frozenset(["and", "or", "vs", "versus", "between", "both", "either", "&", "with"])
_CLASHING = frozenset(
    frozenset(pair.split("/"))
    for pair in [
        "reason/when",
        "reason/where",
        "reason/who",
        "reason/count",
        "reason/amount",
        "when/where",
        "when/who",
        "where/who",
        "when/count",
        "when/how",
        "where/count",
        "who/count",
        "who/how",
        "who/amount",
        "count/amount",
        "count/how",
        "extent/reason",
        "extent/who",
        "extent/where",
        "amount/where",
        "when/amount",
        "polar/reason",
        "polar/how",
        "polar/when",
        "polar/where",
        "polar/who",
        "polar/count",
    ]
)


def refusal(one: Reading, other: Reading) -> str | None:
    """The name of the first guard that refuses, symmetric; of texts that differ."""
    if one.plain == other.plain and one.code == other.code:
        return None
    return next((name for name, guard in GUARDS.items() if guard(one, other)), None)


def numbers(one: Reading, other: Reading) -> bool:
    return set(one.numbers) != set(other.numbers)


def units(one: Reading, other: Reading) -> bool:
    return bool(one.units and other.units and one.units != other.units)


def dates(one: Reading, other: Reading) -> bool:
    return one.dates != other.dates


def negation(one: Reading, other: Reading) -> bool:
    return one.negations != other.negations


def antonyms(one: Reading, other: Reading) -> bool:
    """Also where one of the two words is in both: "the best and worst" for "the worst"."""
    left, right = one.stems - other.stems, other.stems - one.stems
    if any(opposite(a, b) for a in left for b in right):
        return True
    return _opposed(one, other, left) or _opposed(other, one, right)


def entities(one: Reading, other: Reading) -> bool:
    return _unknown_name(one, other) or _unknown_name(other, one)


def quotes(one: Reading, other: Reading) -> bool:
    return any(quote not in other.plain for quote in one.quotes) or any(
        quote not in one.plain for quote in other.quotes
    )


def code(one: Reading, other: Reading) -> bool:
    return one.code != other.code


def language(one: Reading, other: Reading) -> bool:
    return one.scripts != other.scripts


def formats(one: Reading, other: Reading) -> bool:
    return one.formats != other.formats


def kinds(one: Reading, other: Reading) -> bool:
    return frozenset((one.kind, other.kind)) in _CLASHING


def roles(one: Reading, other: Reading) -> bool:
    """Two shared words changed places, and their order matters: names, words pointed at ("than X"), or
    the two ends of a third ("dog bites man")."""
    first, second = _content(one), _content(other)
    place = {word: number for number, word in enumerate(second)}
    shared = [word for word in first if word in place][:40]
    turned = [pair for pair in combinations(shared, 2) if place[pair[0]] > place[pair[1]]]
    if not turned:
        return False
    free = _listed(one) | _listed(other)
    named = {word.stem for reading in (one, other) for word in reading.words if word.named}
    pointed, too = _pointed(one), _pointed(other)
    same = set(first) == set(second)
    for left, right in turned:
        if frozenset((left, right)) in free:
            continue
        if pointed.get(right, set()) & too.get(left, set()) or pointed.get(left, set()) & too.get(
            right, set()
        ):
            return True
        if {left, right} <= named and _apart(one, left, right) and _apart(other, left, right):
            return True
        if same and _between(left, right, first, second):
            return True
    return False


def directions(one: Reading, other: Reading) -> bool:
    """From it or to it, before it or after it."""
    first, second = _pointed(one), _pointed(other)
    return any(_turned(first[word], second[word]) for word in first.keys() & second.keys())


def _turned(one: set[str], other: set[str]) -> bool:
    return any(pair & (one - other) and pair & (other - one) for pair in _WAYS)


def _apart(reading: Reading, one: str, other: str) -> bool:
    stems = [word.stem for word in reading.words]
    return abs(stems.index(one) - stems.index(other)) > 2


def _between(left: str, right: str, first: Sequence[str], second: Sequence[str]) -> bool:
    inner = set(first[first.index(left) + 1 : first.index(right)])
    return bool(inner & set(second[second.index(right) + 1 : second.index(left)]))


def _content(reading: Reading) -> list[str]:
    return list(dict.fromkeys(word.stem for word in reading.words if word.content))


def _pointed(reading: Reading) -> dict[str, set[str]]:
    """Content word → what points at it."""
    found: dict[str, set[str]] = {}
    marker = ""
    for word in reading.words:
        low = word.text.lower()
        if low in _POINTING:
            marker = low
        elif word.content:
            if marker:
                found.setdefault(word.stem, set()).add(marker)
            marker = ""
    return found


def _listed(reading: Reading) -> set[frozenset[str]]:
    """Pairs of words of which the order says nothing: "A and B", "between A and B"."""
    found: set[frozenset[str]] = set()
    words = [word for word in reading.words if word.content or word.text.lower() in _LISTING]
    for number, word in enumerate(words):
        if word.text.lower() in _LISTING:
            near = {near.stem for near in words[max(0, number - 2) : number + 3] if near.content}
            found.update(map(frozenset, combinations(sorted(near), 2)))
    return found


def _opposed(one: Reading, other: Reading, left: frozenset[str]) -> bool:
    """Not by short words: "in" and "out" may well be in one sentence."""
    mine = {word.stem for word in one.words if len(word.text) > 3} & left
    return any(opposite(word, held.stem) for word in mine for held in other.words if len(held.text) > 3)


def _unknown_name(one: Reading, other: Reading) -> bool:
    if one.shouted:
        return False
    unknown = [place for place, word in enumerate(one.words) if word.named and not _known(word, other)]
    if not unknown:
        return False
    spelt = {_spelling(run) for _, run in _runs(other)}
    joined = {place for places, run in _runs(one) if _spelling(run) in spelt for place in places}
    return not joined.issuperset(unknown)


def _known(word: Word, other: Reading) -> bool:
    if word.stem in other.stems or any(alike(word.stem, held) for held in other.stems):
        return True
    low = word.text.lower()
    if len(low) >= _MISSPELT and any(held.text.lower().startswith(low) for held in other.words):
        return True
    return len(low) > 1 and low in _initials(other)


def _runs(reading: Reading) -> Iterator[tuple[range, Sequence[Word]]]:
    """Neighbouring words that the other text may write as one, or with a space less: "U.S." and "US"."""
    for size in range(1, 5):
        for start in range(len(reading.words) - size + 1):
            yield range(start, start + size), reading.words[start : start + size]


def _spelling(words: Sequence[Word]) -> str:
    return "".join(word.text.lower() for word in words)


def _initials(reading: Reading) -> str:
    return "".join(word.text[0].lower() for word in reading.words if word.content or word.text[0].isupper())


def differing(one: Reading, other: Reading) -> Iterator[str]:
    """Content stems of `one` without a partner in `other`."""
    for word in dict.fromkeys(word.stem for word in one.words if word.content):
        if word not in other.stems and not any(alike(word, held) for held in other.stems):
            yield word


GUARDS: dict[str, Guard] = {
    "language": language,
    "code": code,
    "quotes": quotes,
    "numbers": numbers,
    "units": units,
    "dates": dates,
    "negation": negation,
    "antonyms": antonyms,
    "formats": formats,
    "question": kinds,
    "entities": entities,
    "roles": roles,
    "directions": directions,
}
