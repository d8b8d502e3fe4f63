"""Words: their stems, and lists of those that decide what a question asks."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

DATA = Path(__file__).parent / "data"

FUNCTION = frozenset(
    [
        "a",
        "an",
        "the",
        "this",
        "that",
        "these",
        "those",
        "some",
        "any",
        "each",
        "every",
        "all",
        "both",
        "such",
        "i",
        "me",
        "my",
        "mine",
        "myself",
        "you",
        "your",
        "yours",
        "yourself",
        "we",
        "us",
        "our",
        "ours",
        "he",
        "him",
        "his",
        "she",
        "her",
        "hers",
        "it",
        "its",
        "they",
        "them",
        "their",
        "theirs",
        "one",
        "ones",
        "someone",
        "somebody",
        "anyone",
        "anybody",
        "everyone",
        "everybody",
        "people",
        "person",
        "something",
        "anything",
        "am",
        "is",
        "are",
        "was",
        "were",
        "be",
        "been",
        "being",
        "do",
        "does",
        "did",
        "doing",
        "done",
        "have",
        "has",
        "had",
        "having",
        "can",
        "could",
        "will",
        "would",
        "shall",
        "should",
        "may",
        "might",
        "must",
        "ought",
        "of",
        "in",
        "on",
        "at",
        "by",
        "for",
        "with",
        "about",
        "to",
        "from",
        "into",
        "onto",
        "upon",
        "as",
        "than",
        "through",
        "during",
        "via",
        "per",
        "and",
        "or",
        "but",
        "if",
        "so",
        "because",
        "while",
        "until",
        "there",
        "here",
        "then",
        "also",
        "too",
        "very",
        "really",
        "just",
        "actually",
        "exactly",
        "even",
        "ever",
        "still",
        "only",
        "own",
        "other",
        "another",
        "what",
        "which",
        "who",
        "whom",
        "whose",
        "when",
        "where",
        "why",
        "how",
        "s",
        "t",
        "re",
        "ve",
        "ll",
        "d",
        "m",
        "let",
        "lets",
        "please",
        "tell",
        "explain",
        "know",
        "want",
        "need",
        "like",
        "get",
        "got",
        "getting",
        "way",
        "ways",
        "thing",
        "things",
        "kind",
        "kinds",
        "type",
        "types",
        "sort",
        "best",
        "good",
        "better",
        "great",
        "effective",
        "easy",
        "easiest",
        "simple",
        "quick",
        "fast",
        "possible",
        "help",
        "give",
        "show",
        "me",
        "mean",
        "means",
        "meaning",
        "use",
        "used",
        "using",
        "make",
        "making",
        "made",
        "go",
        "going",
        "think",
        "say",
        "said",
        "does",
        "make",
        "sure",
        "step",
        "steps",
        "tip",
        "tips",
        "method",
        "methods",
        "im",
        "ive",
        "id",
        "dont",
        "doesnt",
        "cant",
        "whats",
        "hows",
    ]
)
"""Carry little of a question's topic: a difference in them alone is left to the trained decision."""

NEGATIONS = frozenset(
    [
        "not",
        "no",
        "never",
        "none",
        "nobody",
        "nothing",
        "nowhere",
        "neither",
        "nor",
        "without",
        "cannot",
        "cant",
        "dont",
        "doesnt",
        "didnt",
        "isnt",
        "arent",
        "wasnt",
        "werent",
        "wont",
        "wouldnt",
        "shouldnt",
        "couldnt",
        "hasnt",
        "havent",
        "hadnt",
        "aint",
        "mustnt",
        "neednt",
        "hardly",
        "barely",
        "scarcely",
        "rarely",
        "seldom",
        "unable",
        "except",
        "excluding",
        "lack",
        "lacking",
        "lacks",
        "avoid",
        "stop",
        "fail",
        "fails",
        "failed",
        "refuse",
        "instead",
        "despite",
    ]
)
NUMBER_WORDS = {
    word: number
    for number, word in enumerate(
        ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"]
    )
} | {
    "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90,
    "hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12,
    "second": 2, "third": 3, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8, "ninth": 9, "tenth": 10,
    "half": 0.5, "quarter": 0.25, "twice": 2, "double": 2, "triple": 3, "couple": 2, "pair": 2, "single": 1,
    "ii": 2, "iii": 3, "iv": 4, "vi": 6, "vii": 7, "viii": 8, "ix": 9, "xi": 11, "xii": 12,
}  # fmt: skip
DATES = frozenset(
    [
        "january",
        "february",
        "april",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
        "jan",
        "feb",
        "apr",
        "jun",
        "jul",
        "aug",
        "sept",
        "oct",
        "nov",
        "dec",
        "monday",
        "tuesday",
        "wednesday",
        "thursday",
        "friday",
        "saturday",
        "sunday",
        "today",
        "tomorrow",
        "yesterday",
        "tonight",
        "now",
        "currently",
        "morning",
        "afternoon",
        "evening",
        "night",
        "noon",
        "midnight",
        "weekend",
        "weekday",
        "spring",
        "summer",
        "autumn",
        "winter",
        "christmas",
        "easter",
        "ramadan",
        "diwali",
        "thanksgiving",
        "daily",
        "weekly",
        "monthly",
        "yearly",
        "annually",
        "hourly",
    ]
)
_UNIT_GROUPS = (
    "dollar dollars usd $ buck bucks", "euro euros eur €", "pound pounds gbp £", "rupee rupees inr rs ₹ lakh lakhs crore",
    "yen jpy ¥", "yuan rmb cny", "percent percentage % pct", "kg kgs kilo kilos kilogram kilograms", "gram grams gm gms",
    "lb lbs", "ounce ounces oz", "ton tons tonne tonnes", "km kms kilometer kilometers kilometre kilometres kmph",
    "mile miles mi mph", "meter meters metre metres", "cm centimeter centimeters centimetre centimetres",
    "mm millimeter millimeters", "inch inches", "foot feet ft", "yard yards", "acre acres", "hectare hectares",
    "liter liters litre litres", "ml milliliter milliliters", "gallon gallons", "cup cups", "tablespoon tablespoons tbsp",
    "teaspoon teaspoons tsp", "celsius centigrade °c", "fahrenheit °f", "kelvin", "second seconds sec secs",
    "minute minutes min mins", "hour hours hr hrs", "day days", "week weeks", "month months", "year years yr yrs",
    "decade decades", "century centuries", "byte bytes", "bit bits", "kb kilobyte kilobytes", "mb megabyte megabytes",
    "gb gigabyte gigabytes", "tb terabyte terabytes", "watt watts", "kw kilowatt kilowatts", "volt volts", "amp amps",
    "hz hertz", "ghz", "mhz", "calorie calories kcal", "joule joules", "am", "pm", "bitcoin bitcoins btc",
)  # fmt: skip
UNITS = {word: group.split()[0] for group in _UNIT_GROUPS for word in group.split()}
FORMATS = frozenset(
    [
        "json",
        "xml",
        "yaml",
        "csv",
        "html",
        "markdown",
        "table",
        "bullet",
        "bullets",
        "summarize",
        "summarise",
        "summary",
        "brief",
        "briefly",
        "detailed",
        "detail",
        "essay",
        "poem",
        "haiku",
        "tweet",
        "pseudocode",
        "translate",
        "rewrite",
        "paraphrase",
        "rhyme",
        "outline",
        "formal",
        "informal",
        "bulleted",
    ]
)
SHORT_FORMS = {
    "pc": "computer", "app": "application", "info": "information", "bf": "boyfriend", "gf": "girlfriend", "uk": "britain",
    "usa": "america", "us": "america", "vs": "versus", "fb": "facebook", "ad": "advertisement", "tv": "television",
    "photo": "picture", "pic": "picture", "movie": "film", "phone": "mobile", "uni": "university", "exam": "test",
    "kid": "child", "mom": "mother", "dad": "father", "bike": "bicycle", "ai": "intelligence", "ml": "learning",
    "pics": "picture", "photos": "picture", "colour": "color", "favourite": "favorite", "organisation": "organization",
}  # fmt: skip
_VOWEL = re.compile("[aeiouy]")


@dataclass(frozen=True, slots=True)
class Lexicon:
    """`irregular` gives the base of a form; `antonyms` and `synonyms` are of stems."""

    irregular: Mapping[str, str]
    antonyms: Mapping[str, frozenset[str]]
    synonyms: Mapping[str, frozenset[int]]


@cache
def lexicon() -> Lexicon:
    raw = json.loads((DATA / "words.json").read_text())
    return Lexicon(
        irregular=raw["irregular"],
        antonyms=_both_ways(raw["antonyms"]),
        synonyms={word: frozenset(groups) for word, groups in raw["synonyms"].items()},
    )


@lru_cache(maxsize=50_000)
def stem(word: str) -> str:
    """Good enough to compare forms of one word; of a lower-case word."""
    word = lexicon().irregular.get(word, word)
    word = SHORT_FORMS.get(word, word)
    for suffix, put in (("sses", "ss"), ("ies", "y"), ("'s", "")):
        if word.endswith(suffix) and len(word) > len(suffix) + 2:
            word = word[: -len(suffix)] + put
            break
    else:
        if len(word) > 3 and word[-1] == "s" and word[-2] not in "su":
            word = word[:-1]
    for suffix in ("ing", "ed"):
        base = word[: -len(suffix)]
        if word.endswith(suffix) and len(base) > 2 and _VOWEL.search(base):
            word = base[:-1] if base[-1] == base[-2] and base[-1] not in "lsz" else base
            break
    if len(word) > 3 and word[-1] == "e":
        word = word[:-1]
    return word[:-1] + "i" if len(word) > 3 and word[-1] == "y" else word


def opposite(one: str, other: str) -> bool:
    """Of two stems."""
    if other in lexicon().antonyms.get(one, ()):
        return True
    longer, shorter = (one, other) if len(one) > len(other) else (other, one)
    return len(shorter) > 2 and (_prefixed(longer, shorter) or _emptied(one, other))


def _prefixed(longer: str, shorter: str) -> bool:
    if not longer.endswith(shorter):
        return False
    return longer[: -len(shorter)] in (
        "un",
        "in",
        "im",
        "il",
        "ir",
        "dis",
        "non",
        "non-",
        "mis",
        "anti",
        "de",
    )


def _emptied(one: str, other: str) -> bool:
    return (one.endswith("less") and other.endswith("ful") and one[:-4] == other[:-3]) or (
        other.endswith("less") and one.endswith("ful") and other[:-4] == one[:-3]
    )


def alike(one: str, other: str) -> bool:
    """Stems that mean the same in one of their most frequent senses."""
    groups = lexicon().synonyms
    return not groups.get(one, frozenset()).isdisjoint(groups.get(other, frozenset()))


def _both_ways(pairs: list[list[str]]) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for one, other in pairs:
        found.setdefault(one, set()).add(other)
        found.setdefault(other, set()).add(one)
    return {word: frozenset(others) for word, others in found.items()}
