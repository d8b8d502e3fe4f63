"""Scores of a model move what is believed of it: logistic regression with a normal prior."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
STEPS = 8
# Standard deviations of the weights, in logits per spread of the scored prompts: of difficulty, of a prompt's
# place, and of its structure.
_OF_DIFFICULTY = 0.5
_OF_PLACE = 0.05
_OF_STRUCTURE = 0.05
# A tenant's prompts are not those that abilities were learned from.
_LEAST_DOUBT = 0.8
# Prompts all alike say little of others: their spread is taken to be at least this.
_LEAST_DIFFICULTY = 0.5
_LEAST_PLACE = 2.0
_LEAST_STRUCTURE = 0.25
_WHOLE_PLACE = 8.0


def fitted(
    places: Floats,
    sharp: Floats,
    base: Floats,
    scores: Floats,
    *,
    axes: int,
    theta: float,
    doubt: float,
    weights: Floats,
) -> tuple[float, float, Floats]:
    """`places` (n, d) are difficulty, `axes` of the embedding, and structure; `sharp`, `base`, `scores` (n,).
    Gives ability, the standard deviation of ability for such prompts, and weights (d,)."""
    middle = places.mean(0) / sharp.mean()
    around = places - sharp[:, None] * middle
    design = np.column_stack([sharp, around])
    centre = np.concatenate([[theta + float(weights @ middle)], weights])
    precision = np.concatenate([[1 / max(doubt, _LEAST_DOUBT) ** 2], _precisions(around, axes)])
    found = centre.copy()
    hessian = np.diag(precision)
    for _ in range(STEPS):
        quality = 1 / (1 + np.exp(-np.clip(base + design @ found, -30, 30)))
        slope = design.T @ (scores - quality) - precision * (found - centre)
        sure = np.maximum(quality * (1 - quality), 0.02)
        hessian = (design * sure[:, None]).T @ design + np.diag(precision)
        step = np.linalg.solve(hessian, slope)
        found += np.clip(step, -2.0, 2.0)
        if float(np.abs(step).max()) < 1e-4:
            break
    unit = np.zeros(len(centre))
    unit[0] = 1.0
    variance = float(np.linalg.solve(hessian, unit)[0])
    return float(found[0] - found[1:] @ middle), min(doubt, variance**0.5), found[1:]


def _precisions(around: Floats, axes: int) -> Floats:
    """Of the weights: what differs little among the scored prompts may weigh more."""
    place = float(np.sqrt((around[:, 1 : 1 + axes] ** 2).sum(1).mean()))
    spread = np.maximum(around.std(0), _LEAST_STRUCTURE) / _OF_STRUCTURE
    spread[1 : 1 + axes] = max(place, _LEAST_PLACE) / _WHOLE_PLACE / _OF_PLACE
    spread[0] = max(float(around[:, 0].std()), _LEAST_DIFFICULTY) / _OF_DIFFICULTY
    return np.asarray(spread**2)
