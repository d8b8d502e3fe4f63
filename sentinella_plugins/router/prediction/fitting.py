"""Scores of a model move what is believed of it: logistic regression with a normal prior."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
STEPS = 8
# Standard deviations of the weights, in logits per unit: of difficulty, of a prompt's place, and of its
# structure.
_OF_DIFFICULTY = 0.5
_OF_PLACE = 0.05
_OF_STRUCTURE = 0.05


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
    Gives ability, its standard deviation, and weights (d,)."""
    design = np.column_stack([sharp, places])
    centre = np.concatenate([[theta], weights])
    precision = np.full(len(centre), 1 / _OF_STRUCTURE**2)
    precision[2 : 2 + axes] = 1 / _OF_PLACE**2
    precision[0], precision[1] = 1 / max(doubt, 0.05) ** 2, 1 / _OF_DIFFICULTY**2
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
    return float(found[0]), variance**0.5, found[1:]
