"""How much a call will use at most, before it is made. Pure."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable, Iterator

from sentinella_plugins.kernel.access import AUTO
from sentinella_plugins.kernel.call import Json
from sentinella_plugins.kernel.catalogue import ModelCard

LARGEST = 2**53
"""Amounts stay below it, so that every store counts them exactly."""

_BOUNDS = ("max_completion_tokens", "max_tokens", "max_output_tokens")
_WRITING = frozenset({"chat", "completion", "responses"})
_MOST_CHOICES = 128
_STEP = 0.2


class TypicalLength:
    """The length that a share `quantile` of a model's answers does not exceed, learned as they come.

    A stochastic approximation in the logarithm: a longer answer moves the mark up by `step * quantile`, a
    shorter one down by `step * (1 - quantile)`; it rests where the two balance, and old answers fade.
    """

    def __init__(self, *, default: int, quantile: float, models: int) -> None:
        self._default = default
        self._up = _STEP * quantile
        self._down = _STEP * (1 - quantile)
        self._models = models
        self._logs: OrderedDict[str, float] = OrderedDict()

    def of(self, model: str) -> int:
        learned = self._logs.get(model)
        return self._default if learned is None else math.ceil(math.exp(learned))

    def learn(self, model: str, tokens: int) -> None:
        if tokens < 1:
            return
        mark = self._logs.pop(model, math.log(self._default))
        self._logs[model] = mark + (self._up if math.log(tokens) > mark else -self._down)
        while len(self._logs) > self._models:
            self._logs.popitem(last=False)


def completion_tokens(body: Json, card: ModelCard | None, typical: int) -> int:
    """What the body allows, else the typical length; per choice never more than the model can write."""
    if card is not None and card.mode not in _WRITING:
        return 0
    longest = (card and card.max_output_tokens) or LARGEST // _MOST_CHOICES
    each = min(next(_counts(body, _BOUNDS), typical), longest)
    return each * choices(body)


def choices(body: Json) -> int:
    """How many answers are asked for (`n`)."""
    return min(next(_counts(body, ("n",)), 1), _MOST_CHOICES)


def dearest(cards: Iterable[ModelCard]) -> ModelCard | None:
    """The model to reckon with while the router has not chosen: the one whose answer costs most."""
    return max(
        cards,
        key=lambda card: (card.output_usd_per_million or 0, card.input_usd_per_million or 0),
        default=None,
    )


def is_auto(model: str) -> bool:
    return model in ("", AUTO)


def _counts(body: Json, names: Iterable[str]) -> Iterator[int]:
    for name in names:
        value = body.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            yield value
