"""Words: their stems, and lists of those that decide what a question asks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import product
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
    ml=learning pics=picture photos=picture colour=color favourite=favorite organisation=organization
""")
_VOWEL = re.compile("[aeiouy]")
_SHORT_PAST = re.compile("(?:[aeiou].|.[aiouy])ed$")
"""Used, sued, but not need or shed."""

_NONE: frozenset[int] = frozenset()
_DERIVED = ("er", "est")
_UNDOING = frozenset(["un", "in", "im", "il", "ir", "dis", "non", "non-", "mis", "anti", "de"])
_PREFIXES = sorted(
    tuple(pair.split("/"))
    for pair in vocabulary("""
        in/out in/ex im/ex macro/micro inter/intra hyper/hypo over/under pre/post mono/poly uni/multi
        endo/exo up/down front/back sub/super pro/anti ante/post infra/ultra on/off fore/hind maxi/mini
    """)
)
_PREFIXED = tuple({prefix for pair in _PREFIXES for prefix in pair})


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


def opposite(one: str, other: str) -> bool:
    """Of two stems, also of comparatives ("older", "younger") and of those who do it ("buyer", "seller")."""
    if _antonyms(one, other):
        return True
    for suffix in _DERIVED:
        if one.endswith(suffix) and other.endswith(suffix):
            pairs = product(_bases(one[: -len(suffix)]), _bases(other[: -len(suffix)]))
            return any(_antonyms(base, against) for base, against in pairs)
    longer, shorter = (one, other) if len(one) > len(other) else (other, one)
    if len(shorter) < 3:
        return False
    return _prefixed(longer, shorter) or _emptied(one, other) or _changed(one, other)


def _antonyms(one: str, other: str) -> bool:
    if other in lexicon().antonyms.get(one, ()):
        return True
    contrasts = lexicon().contrasts
    return one != other and not contrasts.get(one, _NONE).isdisjoint(contrasts.get(other, _NONE))


def _bases(cut: str) -> tuple[str, ...]:
    """Stems that end so before "er" or "est": big for bigg."""
    return (cut, cut[:-1]) if cut[-2:-1] == cut[-1:] else (cut,)


def _prefixed(longer: str, shorter: str) -> bool:
    """Unlike and like."""
    return longer.endswith(shorter) and longer[: -len(shorter)] in _UNDOING


def _changed(one: str, other: str) -> bool:
    """Inbound and outbound, payer and payee."""
    if one.startswith(_PREFIXED) and other.startswith(_PREFIXED):
        return any(_begin(one, other, *pair) or _begin(other, one, *pair) for pair in _PREFIXES)
    return _receives(one, other) or _receives(other, one)


def _begin(one: str, other: str, prefix: str, against: str) -> bool:
    rest = one[len(prefix) :]
    return one.startswith(prefix) and len(rest) > 2 and other == against + rest


def _receives(other: str, one: str) -> bool:
    return one.endswith(("er", "or")) and len(one) > 4 and other == one[:-2] + "e"


def _emptied(one: str, other: str) -> bool:
    return (one.endswith("less") and other.endswith("ful") and one[:-4] == other[:-3]) or (
        other.endswith("less") and one.endswith("ful") and other[:-4] == one[:-3]
    )


def alike(one: str, other: str) -> bool:
    """Stems that mean the same in one of their most frequent senses."""
    groups = lexicon().synonyms
    return not groups.get(one, frozenset()).isdisjoint(groups.get(other, frozenset()))


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
