"""What is believed of a model before its own scores are seen."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from sentinella_plugins.router.prediction.names import billions

_SMALL = re.compile(r"\b(?:mini|nano|lite|flash|haiku|small|instant|light|luna)\b")
_LARGE = re.compile(r"\b(?:opus|pro|ultra|large|max)\b")
_OLD = re.compile(
    r"claude-(?:v1|v2|instant|1|2)\b|llama-2|palm|vicuna|wizardlm|gpt-3|mistral-7b|yi-\d|davinci"
)


def guessed(
    model: str,
    output_usd: float | None,
    capabilities: Sequence[str],
    by_price: tuple[float, float],
    by_size: tuple[float, float],
) -> float:
    """In logits. `by_price` and `by_size` are the line over the logarithm to base 10, fitted on trained
    models. Models that are none of the old families are newer than all trained ones."""
    name, guesses = model.lower(), []
    size = billions(name)
    if size is not None:
        guesses.append(by_size[0] + by_size[1] * math.log10(max(size, 0.1)))
    if output_usd is not None and output_usd > 0:
        guesses.append(by_price[0] + by_price[1] * math.log10(output_usd))
    if not guesses:
        tier = (-0.5 if _SMALL.search(name) else 0.0) + (0.5 if _LARGE.search(name) else 0.0)
        guesses.append(by_price[0] + by_price[1] * (0.5 + tier))
    newer = -0.6 if _OLD.search(name) else 0.6
    return sum(guesses) / len(guesses) + newer + 0.4 * ("reasoning" in capabilities)
