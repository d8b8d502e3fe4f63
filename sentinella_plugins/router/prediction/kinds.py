"""What a prompt asks for, and in which language."""

from __future__ import annotations

from typing import Literal

from sentinella_plugins.router.prediction.structure import Structure

Kind = Literal["choice", "word_problem", "code", "math", "other"]
KINDS: tuple[Kind, ...] = ("choice", "word_problem", "code", "math", "other")
LANGUAGES = ("en", "de", "fr", "es", "it", "pt", "ru", "zh", "ja", "ko", "ar", "other")

_CODING = frozenset(
    ["code", "python", "javascript", "typescript", "java", "sql", "regex", "refactor", "golang"]
)
_ASKING = frozenset(["how", "calculate", "compute", "determine", "what", "find"])
_BY_WORD = (
    ("translation", frozenset(["translate", "translation", "übersetze", "traduis", "traduce"])),
    ("summarisation", frozenset(["summarize", "summarise", "summary", "tldr"])),
    ("extraction", frozenset(["extract", "json", "csv", "parse", "entities", "classify"])),
    (
        "writing",
        frozenset(
            ["write", "essay", "poem", "story", "article", "email", "blog", "draft", "rewrite", "letter"]
        ),
    ),
    (
        "reasoning",
        frozenset(
            [
                "why",
                "explain",
                "analyze",
                "analyse",
                "compare",
                "plan",
                "strategy",
                "derive",
                "prove",
                "design",
            ]
        ),
    ),
    ("knowledge", frozenset(["who", "when", "where", "which", "what"])),
)
_STOPWORDS = {
    "en": frozenset(["the", "is", "of", "and", "to", "in", "what", "how", "a", "for"]),
    "de": frozenset(["der", "die", "das", "und", "ist", "nicht", "wie", "ein", "eine", "für"]),
    "fr": frozenset(["le", "la", "les", "des", "est", "une", "dans", "pour", "quel", "comment"]),
    "es": frozenset(["el", "los", "las", "una", "que", "es", "para", "como", "cuál", "por"]),
    "it": frozenset(["il", "gli", "che", "di", "una", "per", "come", "è", "della", "sono"]),
    "pt": frozenset(["os", "as", "uma", "que", "é", "para", "como", "não", "são", "do"]),
}
_SCRIPTS = (
    ("ja", "\u3040", "\u30ff"),
    ("ko", "\uac00", "\ud7af"),
    ("zh", "\u4e00", "\u9fff"),
    ("ru", "\u0400", "\u04ff"),
    ("ar", "\u0600", "\u06ff"),
)


def kind_of(seen: Structure) -> Kind:
    if seen.options > 1:
        return "choice"
    if seen.code > 1 or (seen.words & _CODING and not seen.quantity) or _asks_for_function(seen):
        return "code"
    if seen.latex > 1 or (seen.latex and seen.numbers):
        return "math"
    if seen.numbers > 1 and (seen.quantity or seen.words & _ASKING):
        return "word_problem"
    return "other"


def _asks_for_function(seen: Structure) -> bool:
    return "function" in seen.words and not seen.latex and bool(seen.words & {"write", "implement"})


def task_of(kind: Kind, seen: Structure) -> str:
    if kind == "choice":
        return "math" if calculates(seen) else "knowledge"
    if kind in ("word_problem", "math"):
        return "math"
    if kind == "code":
        return "code"
    return next((task for task, words in _BY_WORD if seen.words & words), "chat")


def calculates(seen: Structure) -> bool:
    return seen.of("number_options") > 0.5 and (seen.numbers > 1 or seen.latex > 1)


def language_of(text: str, seen: Structure) -> str:
    start = text[:400]
    if not start.isascii():
        for name, first, last in _SCRIPTS:
            if sum(first <= letter <= last for letter in start) * 5 > len(start):
                return name
    found = max(_STOPWORDS, key=lambda name: len(_STOPWORDS[name] & seen.words))
    if _STOPWORDS[found] & seen.words:
        return found
    return "en" if start.isascii() else "other"
