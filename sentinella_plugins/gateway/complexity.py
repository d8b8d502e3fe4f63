"""LiteLLM's complexity router as a scorer of prompts, for comparisons."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, cast

_MODEL = "compared"
_TIERS = {"SIMPLE": _MODEL, "MEDIUM": _MODEL, "COMPLEX": _MODEL, "REASONING": _MODEL}
_RANK = {"SIMPLE": 0, "MEDIUM": 1, "COMPLEX": 2, "REASONING": 3}


def complexities(texts: Sequence[str]) -> list[float]:
    """Tier first, then LiteLLM's own score within it; the higher, the more complex. Its class needs no
    deployment to classify with rules."""
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # else it is fetched
    from litellm.router_strategy.complexity_router.complexity_router import ComplexityRouter

    router = ComplexityRouter(
        model_name=_MODEL,
        litellm_router_instance=cast(Any, None),
        complexity_router_config={"tiers": _TIERS},
        default_model=_MODEL,
        derive_savings_baseline=False,
    )
    return [_number(router, text) for text in texts]


def _number(router: Any, text: str) -> float:
    tier, score, _signals = router.classify(text)
    return 10.0 * _RANK.get(str(getattr(tier, "value", tier)), 0) + float(score)
