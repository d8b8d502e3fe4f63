"""The first router: the default model where it is allowed, else the cheapest one that is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sentinella_plugins.kernel.catalogue import Catalogue, ModelCard
from sentinella_plugins.kernel.errors import BadRequest, ModelForbidden
from sentinella_plugins.router.config import RouterConfig


@dataclass(frozen=True, slots=True)
class Choice:
    model: str
    reason: str
    candidates: tuple[str, ...]

    def public(self) -> dict[str, object]:
        return {"reason": self.reason, "task": None, "complexity": None, "candidates": list(self.candidates)}


class RouterService:
    def __init__(self, catalogue: Catalogue, config: RouterConfig) -> None:
        self._catalogue = catalogue
        self._config = config

    def check(self, model: str, route: str) -> None:
        """`BadRequest` when a known model cannot answer on this route."""
        card = self._catalogue.find(model)
        if card is not None and card.mode not in _modes(route):
            raise BadRequest(f"`{model}` is a model for {card.mode}, not for `{route}`.", param="model")

    def choose(self, allowed: Callable[[str], bool], route: str) -> Choice:
        """Raises `ModelForbidden` when no model that fits the route is allowed."""
        cards = [
            card for card in self._catalogue.cards() if card.mode in _modes(route) and allowed(card.name)
        ]
        cards = [card for card in cards if not card.deprecated] or cards
        if not cards:
            raise ModelForbidden(f"This key may not use any model for `{route}`.")
        names = tuple(card.name for card in cards)
        if self._config.default_model in names:
            return Choice(self._config.default_model, "default_model", names)
        return Choice(_cheapest(cards).name, "cheapest", names)


def _modes(route: str) -> tuple[str, ...]:
    return ("embedding",) if route.endswith("/embeddings") else ("chat", "completion", "responses")


def _cheapest(cards: Sequence[ModelCard]) -> ModelCard:
    def price(card: ModelCard) -> tuple[float, str]:
        known = card.input_usd_per_million is not None and card.output_usd_per_million is not None
        total = (card.input_usd_per_million or 0) + (card.output_usd_per_million or 0)
        return (total if known else float("inf"), card.name)

    return min(cards, key=price)
