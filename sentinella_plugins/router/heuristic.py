"""Predictions without a trained artefact: quality by price and complexity. A router can always be built with
it."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sentinella_plugins.router.models import Features, Floats, Profile, Values
from sentinella_plugins.vectors.models import Encoding

_CODE = re.compile(
    r"```|\bdef \w+\(|\bclass \w+|#include|\bSELECT\b.{1,200}\bFROM\b|\bfunction\b|[{};]\s*$", re.M
)
_CODE_WORDS = re.compile(
    r"\b(code|python|javascript|sql|regex|bug|compile|refactor|unit test|stack trace)\b", re.I
)
_MATHS = re.compile(
    r"\$[^$]+\$|\\frac|\b\d+\s*[-+*/^=]\s*\d+|\b(prove|integral|equation|theorem|solve)\b", re.I
)
_REASON = re.compile(
    r"\b(why|explain|analy[sz]e|compare|design|plan|step by step|trade-?offs?|strategy|evaluate|derive)\b",
    re.I,
)
_WRITE = re.compile(
    r"\b(write|essay|poem|story|article|e-?mail|blog|draft|rewrite|summari[sz]e|translate)\b", re.I
)
_TASKS = ("code", "maths", "reasoning", "writing", "general")
_TOKENS = {"code": 450.0, "maths": 350.0, "reasoning": 500.0, "writing": 600.0, "general": 180.0}
_WHOLE = 6_000
_SPREAD = 0.12
_TYPICAL_USD = 1.0
_PER_TENFOLD = 0.9
_EASY, _HARD = 2.5, -1.0
_PRIOR_SCORES = 4.0


@dataclass(frozen=True, slots=True, eq=False)
class PlainFeatures:
    task: str
    complexity: float
    language: str
    values: Values


@dataclass(frozen=True, slots=True, eq=False)
class PlainProfile:
    model: str
    ability: Values
    known: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class PlainPrediction:
    quality: Floats
    spread: Floats
    completion_tokens: Floats


class HeuristicPredictor:
    """The chance of a good answer falls with the prompt's complexity and rises with the model's price, by 0.9
    logits for tenfold the price. Scores move a model's ability by as much as they surprise."""

    name = "heuristic-1"

    def features(
        self, text: str, encoding: Encoding | None, *, messages: int = 1, images: int = 0, tools: int = 0
    ) -> PlainFeatures:
        task = _task(text)
        complexity = _complexity(text, task, messages, tools)
        values = np.array([complexity, _TASKS.index(task)], dtype=np.float32)
        return PlainFeatures(task, complexity, "en" if text.isascii() else "other", values)

    def restore_features(self, values: Values, task: str) -> PlainFeatures:
        return PlainFeatures(task, float(values[0]), "other", values)

    def predict(self, features: Features, profiles: Sequence[Profile]) -> PlainPrediction:
        abilities = np.array([profile.ability[0] for profile in profiles], dtype=np.float64)
        quality = 1 / (1 + np.exp(-(abilities + _ease(features.complexity))))
        tokens = _TOKENS.get(features.task, _TOKENS["general"]) * (0.6 + 0.8 * features.complexity)
        return PlainPrediction(quality, np.full(len(profiles), _SPREAD), np.full(len(profiles), tokens))

    def profile(
        self,
        model: str,
        provider: str,
        input_usd: float | None,
        output_usd: float | None,
        context: int | None,
        capabilities: Sequence[str],
    ) -> PlainProfile:
        price = output_usd if output_usd is not None else input_usd
        tiers = 0.0 if price is None else math.log10(max(price, 0.01) / _TYPICAL_USD)
        ability = _PER_TENFOLD * tiers + 0.2 * ("reasoning" in capabilities)
        return PlainProfile(model, np.array([ability], dtype=np.float32))

    def restore_profile(self, model: str, ability: Values) -> PlainProfile:
        return PlainProfile(model, ability, known=True)

    def fit_profile(
        self, features: Sequence[Features], scores: Sequence[float], prior: Profile
    ) -> PlainProfile:
        """The most probable ability: Newton's method on a logistic model with one unknown and a normal
        prior."""
        ease = np.array([_ease(one.complexity) for one in features])
        given = np.asarray(scores, dtype=np.float64)
        centre = ability = float(prior.ability[0])
        weight = _PRIOR_SCORES / 4  # at a chance of one half, a score weighs 1/4
        for _ in range(20):
            quality = 1 / (1 + np.exp(-(ability + ease)))
            slope = float((given - quality).sum()) - weight * (ability - centre)
            step = slope / (float((quality * (1 - quality)).sum()) + weight)
            ability += max(-2.0, min(2.0, step))
        return PlainProfile(prior.model, np.array([ability], dtype=np.float32), known=True)


def _ease(complexity: float) -> float:
    return _EASY + (_HARD - _EASY) * complexity


def _task(text: str) -> str:
    if _CODE.search(text) or _CODE_WORDS.search(text):
        return "code"
    if _MATHS.search(text):
        return "maths"
    if _REASON.search(text):
        return "reasoning"
    return "writing" if _WRITE.search(text) else "general"


def _complexity(text: str, task: str, messages: int, tools: int) -> float:
    length = min(1.0, math.log1p(len(text)) / math.log1p(_WHOLE))
    base = {"code": 0.3, "maths": 0.35, "reasoning": 0.25, "writing": 0.1, "general": 0.0}[task]
    steps = min(0.2, 0.04 * (text.count("\n") + text.count("?")))
    return min(1.0, base + 0.4 * length * length + steps + 0.02 * min(messages, 5) + 0.02 * min(tools, 5))
