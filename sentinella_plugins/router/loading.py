"""The trained predictor, or the heuristic one when that cannot be read."""

from __future__ import annotations

import logging
from pathlib import Path

from sentinella_plugins.router.heuristic import HeuristicPredictor
from sentinella_plugins.router.models import Predictor

logger = logging.getLogger(__name__)
SHIPPED = Path(__file__).parent / "data"


def open_predictor(folder: Path | None = None) -> tuple[Predictor, str | None]:
    """Blocking. The second is `None`, or what is wrong with the artefact; then the first goes by price and
    complexity."""
    try:
        from sentinella_plugins.router.prediction import Predictor as Trained

        return Trained.load(folder or SHIPPED), None
    except Exception as error:  # whatever a damaged file leads to
        logger.warning("the router goes by price and complexity: its artefact cannot be used (%s)", error)
        return HeuristicPredictor(), f"the router's artefact cannot be used: {error}"
