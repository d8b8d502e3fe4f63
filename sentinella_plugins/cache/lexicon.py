"""Words: their stems, and lists of those that decide what a question asks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

DATA = Path(__file__).parent / "data"


def vocabulary(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _map(text: str) -> dict[str, str]:
    return dict(pair.split("=") for pair in text.split())


FUNCTION = vocabulary("""
    a about actually all also am an and another any anybody anyone anything are as at be because been
    being best better both but by can cant could d did do does doesnt doing done dont during each
    easiest easy effective even ever every everybody everyone exactly explain fast for from get getting
    give go going good got great had has have having he help her here hers him his how hows i id if im
    in into is it its ive just kind kinds know let lets like ll m made make making may me mean meaning
    means method methods might mine must my myself need of on one ones only onto or other ought our ours
    own people per person please possible quick re really s said say shall she should show simple so
    some somebody someone something sort step steps still such sure t tell than that the their theirs
    them then there these they thing things think this those through tip tips to too type types until
    upon us use used using ve very via want was way ways we were what whats when where which while who
    whom whose why will with would you your yours yourself
""")
"""Carry little of a question's topic: a difference in them alone is left to the trained decision."""

NEGATIONS = vocabulary("""
    aint arent avoid barely cannot cant couldnt despite didnt doesnt dont except excluding fail failed
    fails hadnt hardly hasnt havent instead isnt lack lacking lacks mustnt neednt neither never no
    nobody none nor not nothing nowhere rarely refuse scarcely seldom shouldnt stop unable wasnt werent
    without wont wouldnt
""")
NUMBER_WORDS = {
    word: float(number)
    for word, number in _map("""
    zero=0 one=1 two=2 three=3 four=4 five=5 six=6 seven=7 eight=8 nine=9 ten=10 eleven=11 twelve=12
    thirteen=13 fourteen=14 fifteen=15 sixteen=16 seventeen=17 eighteen=18 nineteen=19 twenty=20
    thirty=30 forty=40 fifty=50 sixty=60 seventy=70 eighty=80 ninety=90 hundred=100 thousand=1000
    million=1000000 billion=1000000000 trillion=1000000000000 dozen=12 second=2 third=3 fourth=4 fifth=5
    sixth=6 seventh=7 eighth=8 ninth=9 tenth=10 half=0.5 quarter=0.25 twice=2 double=2 triple=3 couple=2
    pair=2 single=1 ii=2 iii=3 iv=4 vi=6 vii=7 viii=8 ix=9 xi=11 xii=12
""").items()
}
DATES = vocabulary("""
    afternoon annually apr april aug august autumn christmas currently daily dec december diwali easter
    evening feb february friday hourly jan january jul july jun june midnight monday monthly morning
    night noon nov november now oct october ramadan saturday sept september spring summer sunday
    thanksgiving thursday today tomorrow tonight tuesday wednesday weekday weekend weekly winter yearly
    yesterday
""")
UNITS = _map("""
    dollar=dollar dollars=dollar usd=dollar $=dollar buck=dollar bucks=dollar euro=euro euros=euro
    eur=euro €=euro pound=pound pounds=pound gbp=pound £=pound rupee=rupee rupees=rupee inr=rupee
    rs=rupee ₹=rupee lakh=rupee lakhs=rupee crore=rupee yen=yen jpy=yen ¥=yen yuan=yuan rmb=yuan
    cny=yuan percent=percent percentage=percent %=percent pct=percent kg=kg kgs=kg kilo=kg kilos=kg
    kilogram=kg kilograms=kg g=gram gram=gram grams=gram gm=gram gms=gram mg=mg mgs=mg milligram=mg
    milligrams=mg milligramme=mg milligrammes=mg mcg=mcg μg=mcg microgram=mcg micrograms=mcg lb=lb
    lbs=lb ounce=ounce ounces=ounce oz=ounce ton=ton tons=ton tonne=ton tonnes=ton km=km kms=km
    kilometer=km kilometers=km kilometre=km kilometres=km kmph=km mile=mile miles=mile mi=mile mph=mile
    m=meter meter=meter meters=meter metre=meter metres=meter cm=cm centimeter=cm centimeters=cm
    centimetre=cm centimetres=cm mm=mm millimeter=mm millimeters=mm inch=inch inches=inch foot=foot
    feet=foot ft=foot yard=yard yards=yard acre=acre acres=acre hectare=hectare hectares=hectare l=liter
    liter=liter liters=liter litre=liter litres=liter ml=ml milliliter=ml milliliters=ml gallon=gallon
    gallons=gallon cup=cup cups=cup tablespoon=tablespoon tablespoons=tablespoon tbsp=tablespoon
    teaspoon=teaspoon teaspoons=teaspoon tsp=teaspoon celsius=celsius centigrade=celsius °c=celsius
    fahrenheit=fahrenheit °f=fahrenheit kelvin=kelvin second=second seconds=second sec=second
    secs=second minute=minute minutes=minute min=minute mins=minute hour=hour hours=hour hr=hour
    hrs=hour day=day days=day week=week weeks=week month=month months=month year=year years=year yr=year
    yrs=year decade=decade decades=decade century=century centuries=century byte=byte bytes=byte bit=bit
    bits=bit kb=kb kilobyte=kb kilobytes=kb mb=mb megabyte=mb megabytes=mb gb=gb gigabyte=gb
    gigabytes=gb tb=tb terabyte=tb terabytes=tb watt=watt watts=watt kw=kw kilowatt=kw kilowatts=kw
    volt=volt volts=volt amp=amp amps=amp hz=hz hertz=hz ghz=ghz mhz=mhz calorie=calorie
    calories=calorie kcal=calorie joule=joule joules=joule am=am pm=pm bitcoin=bitcoin bitcoins=bitcoin
    btc=bitcoin
""")
"""Each name of a unit and the one it is counted as."""

FORMATS = vocabulary("""
    brief briefly bullet bulleted bullets csv detail detailed essay formal haiku html informal json
    markdown outline paraphrase poem pseudocode rewrite rhyme summarise summarize summary table
    translate tweet xml yaml
""")
SHORT_FORMS = _map("""
    pc=computer app=application info=information bf=boyfriend gf=girlfriend uk=britain usa=america
    us=america vs=versus fb=facebook ad=advertisement tv=television photo=picture pic=picture movie=film
    phone=mobile uni=university exam=test kid=child mom=mother dad=father bike=bicycle ai=intelligence
    ml=learning pics=picture photos=picture summarise=summary summarize=summary colour=color
    favourite=favorite organisation=organization
""")
_VOWEL = re.compile("[aeiouy]")
_SHORT_PAST = re.compile("(?:[aeiou].|.[aiouy])ed$")
"""Used, sued, but not need or shed."""

_NONE: frozenset[int] = frozenset()
_UNDOING = ["un", "in", "im", "il", "ir", "dis", "non", "non-", "mis", "anti", "de"]
_PAIRS = [
    pair.split("/")
    for pair in vocabulary("""
        in/out in/ex im/ex macro/micro inter/intra hyper/hypo over/under pre/post mono/poly uni/multi
        endo/exo up/down front/back sub/super pro/anti ante/post infra/ultra on/off fore/hind maxi/mini
    """)
]
_PREFIXES = [
    *_PAIRS,
    *([against, prefix] for prefix, against in _PAIRS),
    *([prefix, ""] for prefix in _UNDOING),
]
_STARTS = tuple({prefix for prefix, _ in _PREFIXES})
_SUFFIXES = [("less", "ful"), ("ful", "less"), ("er", "e"), ("or", "e"), ("e", "er"), ("e", "or")]


@dataclass(frozen=True, slots=True)
class Lexicon:
    """`irregular` gives the base of a form; the others are of stems. Words of one of the `contrasts`, told by
    its number, exclude each other."""

    irregular: Mapping[str, str]
    antonyms: Mapping[str, frozenset[str]]
    contrasts: Mapping[str, frozenset[int]]
    synonyms: Mapping[str, frozenset[int]]


@cache
def lexicon() -> Lexicon:
    raw = json.loads((DATA / "words.json").read_text())
    irregular: dict[str, str] = raw["irregular"]
    return Lexicon(
        irregular=irregular,
        antonyms=_both_ways(raw["antonyms"]),
        contrasts=_contrasts((DATA / "contrasts.txt").read_text().splitlines(), irregular),
        synonyms={word: frozenset(groups) for word, groups in raw["synonyms"].items()},
    )


@lru_cache(maxsize=10_000)
def stem(word: str) -> str:
    """Good enough to compare forms of one word; of a lower-case word."""
    return _stem(word, lexicon().irregular)


def _stem(word: str, irregular: Mapping[str, str]) -> str:
    word = irregular.get(word, word)
    word = SHORT_FORMS.get(word, word)
    for suffix, put in (("sses", "ss"), ("ies", "y"), ("'s", "")):
        if word.endswith(suffix) and len(word) > len(suffix) + 2:
            word = word[: -len(suffix)] + put
            break
    else:
        if len(word) > 3 and word[-1] == "s" and word[-2] not in "su":
            word = word[:-1]
    if _SHORT_PAST.match(word):
        return word[:-1]
    for suffix in ("ing", "ed"):
        base = word[: -len(suffix)]
        if word.endswith(suffix) and len(base) > 2 and _VOWEL.search(base):
            word = base[:-1] if base[-1] == base[-2] and base[-1] not in "lsz" else base
            break
    if len(word) > 3 and word[-1] == "e":
        word = word[:-1]
    return word[:-1] + "i" if len(word) > 3 and word[-1] == "y" else word


def opposed(words: Iterable[str], others: Iterable[str]) -> bool:
    """Whether one of these stems excludes one of the others, none of which is among them. Also comparatives
    ("older", "younger"), those who do it ("buyer", "seller") and those to whom it is done ("payer", "payee").
    In time that grows with the number of words, not of pairs: a question may have hundreds."""
    words, held = list(words), frozenset(others)
    if _exclude(words, held) or any(not held.isdisjoint(_changed(word)) for word in words):
        return True
    return any(_exclude(_bases(words, suffix), frozenset(_bases(held, suffix))) for suffix in ("er", "est"))


def strangers(words: Iterable[str], others: Iterable[str]) -> set[str]:
    """Those of the stems that mean, in their most frequent senses, what none of the others means."""
    senses = lexicon().synonyms
    meant = frozenset().union(*(senses.get(word, _NONE) for word in others))
    return {word for word in words if meant.isdisjoint(senses.get(word, _NONE))}


def _exclude(words: Iterable[str], held: frozenset[str]) -> bool:
    known = lexicon()
    sets = frozenset().union(*(known.contrasts.get(word, _NONE) for word in held))
    return any(
        not held.isdisjoint(known.antonyms.get(word, ()))
        or not sets.isdisjoint(known.contrasts.get(word, _NONE))
        for word in words
        if word not in held
    )


def _bases(words: Iterable[str], suffix: str) -> Iterator[str]:
    """What stands before the suffix of those that have it: bigger → bigg and big."""
    for word in words:
        if word.endswith(suffix):
            cut = word[: -len(suffix)]
            yield cut
            if cut[-2:-1] == cut[-1:]:
                yield cut[:-1]


def _changed(word: str) -> Iterator[str]:
    """Unlike and like, useful and useless, inbound and outbound, payer and payee."""
    for prefix in _UNDOING:
        if len(word) > 2:
            yield prefix + word
    if word.startswith(_STARTS):
        for prefix, against in _PREFIXES:
            rest = word[len(prefix) :]
            if len(rest) > 2 and word.startswith(prefix):
                yield against + rest
    for suffix, other in _SUFFIXES:
        if len(word) > max(3, 2 + len(suffix)) and word.endswith(suffix):
            yield word[: -len(suffix)] + other


def _contrasts(lines: Iterable[str], irregular: Mapping[str, str]) -> dict[str, frozenset[int]]:
    found: dict[str, set[int]] = {}
    for number, line in enumerate(lines):
        for word in line.split():
            found.setdefault(_stem(word, irregular), set()).add(number)
    return {word: frozenset(numbers) for word, numbers in found.items()}


def _both_ways(pairs: list[list[str]]) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for one, other in pairs:
        found.setdefault(one, set()).add(other)
        found.setdefault(other, set()).add(one)
    return {word: frozenset(others) for word, others in found.items()}
