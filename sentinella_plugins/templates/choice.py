"""Which version a label means."""

from __future__ import annotations

import hashlib

from sentinella_plugins.templates.models import Weights


def chosen(weights: Weights, seed: str) -> int:
    """The same seed always meets the same version, and over many seeds each is met as its weight says."""
    if len(weights) == 1:
        return next(iter(weights))
    point = int.from_bytes(hashlib.sha256(seed.encode("utf-8", "replace")).digest()[:8], "big") / 2**64
    left = point * sum(weights.values())
    ordered = sorted(weights.items())
    for number, share in ordered:
        left -= share
        if left < 0:
            return number
    return ordered[-1][0]
