"""Rules that forbid to serve one question's answer for another, whatever their nearness."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from sentinella_plugins.cache.arrangement import Word
from sentinella_plugins.cache.lexicon import opposed, strangers
from sentinella_plugins.cache.marks import clash
from sentinella_plugins.cache.order import directions, junctions, particles, roles, sequence, voices
from sentinella_plugins.cache.reading import Reading

Guard = Callable[[Reading, Reading], bool]

_MISSPELT = 5
"""Letters of a name that may stand for a longer word: "Maastrich", but not "Java" for JavaScript."""

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
    return opposed(left, right) or _opposed(one, other, left) or _opposed(other, one, right)


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


def quantities(one: Reading, other: Reading) -> bool:
    """All or most of them, only these, at least five."""
    kinds = ("share", "either", "only", "alternate", "head", "bound")
    return any(clash(one.marks, other.marks, kind) for kind in kinds)


def conditions(one: Reading, other: Reading) -> bool:
    """Until or after, used to it or used to do it, our or their; of yes-or-no questions must or may."""
    kinds = ["time", "habit", "stop", "person"]
    if {one.kind, other.kind} <= {"polar", "ability"}:
        kinds.append("duty")
    return any(clash(one.marks, other.marks, kind) for kind in kinds)


def _opposed(one: Reading, other: Reading, left: frozenset[str]) -> bool:
    """Not by short words: "in" and "out" may well be in one sentence."""
    mine = {word.stem for word in one.words if len(word.text) > 3} & left
    return opposed(mine, {word.stem for word in other.words if len(word.text) > 3})


def _unknown_name(one: Reading, other: Reading) -> bool:
    if one.shouted:
        return False
    unknown = [place for place, word in enumerate(one.words) if word.named and not _known(word, other)]
    if unknown:
        new = strangers({one.words[place].stem for place in unknown}, other.stems)
        unknown = [place for place in unknown if one.words[place].stem in new]
    if not unknown:
        return False
    spelt = {_spelling(run) for _, run in _runs(other)}
    short = {word.text.lower() for word in other.words if len(word.text) > 1}
    joined = {
        place
        for places, run in _runs(one)
        if _spelling(run) in spelt or "".join(word.text[0].lower() for word in run) in short
        for place in places
    }
    return not joined.issuperset(unknown)


def _known(word: Word, other: Reading) -> bool:
    low = word.text.lower()
    if word.stem in other.stems or (len(low) >= _MISSPELT and f" {low}" in f" {other.plain}"):
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
    "sequence": sequence,
    "directions": directions,
    "particles": particles,
    "voices": voices,
    "junctions": junctions,
    "quantities": quantities,
    "conditions": conditions,
}
