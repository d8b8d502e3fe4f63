"""Small words that turn a question into another one: how many of them, until when, whether it must or may."""

from __future__ import annotations

import re
from collections.abc import Mapping

Marks = Mapping[str, frozenset[str]]

_IDLE = re.compile(
    r"\b(?:not only|if only|at all|after all|all right|first of all|all (?:day|night|over)|all kinds"
    r"|whether or not|more or less|used to it)\b"
)
_NUMBER = r"(?=\d|two |three |four |five |six |seven |eight |nine |ten |half )"
_PATTERNS: dict[str, dict[str, str]] = {
    "share": {
        "all": r"\b(?:all|every|each|always|entirely|completely|fully)\b",
        "most": r"(?<!the )\bmost (?:of|people|\w+s)\b|\b(?:mostly|mainly|usually)\b",
        "part": r"\b(?:partly|partially|sometimes|occasionally)\b",
        "few": r"(?<!\ba )(?<!the )(?<!last )(?<!next )\bfew\b",
        "some": r"\ba few\b",
    },
    "either": {"both": r"\bboth\b", "either": r"\beither\b"},
    "only": {"only": r"\b(?:only|solely|exclusively)\b", "just": r"\bjust\b"},
    "person": {
        "own": r"\b(?:i|i'm|im|i've|me|my|mine|we|us|our|ours)\b",
        "their": r"\b(?:he|she|him|his|her|hers|their|theirs)\b",
    },
    "alternate": {"other": r"\bevery (?:other|second|third)\b"},
    "head": {"capita": r"\bper (?:capita|person|head)\b"},
    "bound": {
        "least": rf"\b(?:at least|no less than|no fewer than) {_NUMBER}|\bor (?:more|older|over|above)\b",
        "most": rf"\b(?:at most|up to|no more than|maximum of) {_NUMBER}|\bor (?:less|fewer|younger|under)\b",
        "exact": rf"\bexactly {_NUMBER}",
        "more": rf"\b(?:more than|over|above|greater than|older than) {_NUMBER}",
        "less": rf"\b(?:less than|fewer than|under|below|younger than|within) {_NUMBER}",
    },
    "time": {
        "until": r"\b(?:until|till)\b",
        "while": r"\bwhile\b",
        "after": r"\bafter\b",
        "before": r"\bbefore\b",
    },
    "duty": {
        "must": r"\b(?:must|(?:have|has|had|need|needs|needed|required|obliged) to|mandatory|compulsory)\b",
        "may": r"\b(?:(?:may|can|could)\b(?! you)|(?:allowed|permitted|able) to\b|possible\b)",
    },
    "habit": {
        "is": r"\b(?:i'm|im|am|(?:you|we|they)(?:'re| are|re)|(?:he|she|it)(?:'s| is)) used to\b",
        "was": r"\b(?:i|you|he|she|it|we|they) used to\b",
    },
    "stop": {"to": r"\bstop(?:ped|s)? to \w+", "doing": r"\bstop(?:ped|s)? \w+ing\b"},
}
_KINDS = {kind: {name: re.compile(text) for name, text in found.items()} for kind, found in _PATTERNS.items()}
_ALONE = frozenset(["alternate", "head", "bound"])
"""Kinds of which the one text has none where the other has one, and means something else by that."""

_ANYBODY = re.compile(r"\b(?:some|any|every)(?:one|body)\b|\b(?:people|persons?|one|child|children)\b")
"""Whom "their" may mean: anybody, as "my" does."""


def marks(plain: str) -> Marks:
    """Of a lower-case text without punctuation."""
    text = _IDLE.sub(" ", plain)
    found = {
        kind: frozenset(name for name, pattern in patterns.items() if pattern.search(text))
        for kind, patterns in _KINDS.items()
    }
    if _ANYBODY.search(text):
        found["person"] = frozenset()
    return found


def clash(one: Marks, other: Marks, kind: str) -> bool:
    """Whether each has a mark of this kind that the other has not; of some kinds one is enough."""
    mine, theirs = one[kind] - other[kind], other[kind] - one[kind]
    if kind == "only":  # that a text has "just" tells nothing
        return ("only" in mine and not theirs) or ("only" in theirs and not mine)
    return bool(mine or theirs) if kind in _ALONE else bool(mine and theirs)
