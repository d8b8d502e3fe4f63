"""Sometimes another model than the one that looks best, within bounds; the same for the same request."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np

from sentinella_plugins.router.config import ExplorationConfig, Weights
from sentinella_plugins.router.decision import Slate, Verdict, known_cost

_WHOLE = float(2**64)


def explored(
    config: ExplorationConfig, request_id: str, slate: Slate, verdict: Verdict, weights: Weights
) -> int | None:
    """The index to try instead of the best one, or `None`."""
    if config.mode == "off" or len(verdict.ranking) < 2 or chance(request_id, "explore") >= config.share:
        return None
    open_to = _within(config, slate, verdict)
    if config.mode == "epsilon":
        picked = open_to[int(chance(request_id, "pick") * len(open_to))]
    else:
        gains = _gains(config, request_id, slate)[open_to]
        cost = known_cost(slate.cost_usd)[open_to]
        latency = slate.latency_ms[open_to] / 1000
        picked = open_to[int(np.argmax(gains - weights.cost * cost - weights.latency * latency))]
    return None if picked == verdict.ranking[0] else picked


def chance(*parts: str) -> float:
    """A number in [0, 1) that depends on nothing but these words."""
    digest = blake2b("\0".join(parts).encode(errors="replace"), digest_size=8).digest()
    return int.from_bytes(digest, "big") / _WHOLE


def _within(config: ExplorationConfig, slate: Slate, verdict: Verdict) -> list[int]:
    best = verdict.ranking[0]
    least = slate.quality[best] - config.max_quality_loss
    cost = known_cost(slate.cost_usd)
    most = cost[best] * config.max_cost_factor
    return [
        index
        for index in verdict.ranking
        if index == best or (slate.quality[index] >= least and cost[index] <= most)
    ]


def _gains(config: ExplorationConfig, request_id: str, slate: Slate) -> np.ndarray:
    if config.mode == "ucb":
        return slate.quality + config.width * slate.spread
    seed = int.from_bytes(blake2b(request_id.encode(), digest_size=8).digest(), "big")
    drawn = np.random.Generator(np.random.PCG64(seed)).standard_normal(len(slate.quality))
    return slate.quality + slate.spread * drawn
