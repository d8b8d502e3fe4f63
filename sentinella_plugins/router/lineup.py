"""The models of the catalogue that can answer a kind of route, column by column."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sentinella_plugins.kernel.catalogue import Catalogue, ModelCard
from sentinella_plugins.router.models import Floats

Mode = tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Lineup:
    """Arrays are of shape (M,): prices in USD per token (nan: unknown), sizes in tokens (inf: unknown).
    `answers` are the names under which the models answer: of a retired one, what stands in for it."""

    cards: tuple[ModelCard, ...]
    names: tuple[str, ...]
    answers: tuple[str, ...]
    abilities: tuple[frozenset[str], ...]
    input_usd: Floats
    output_usd: Floats
    window: Floats
    longest: Floats
    deprecated: NDArray[np.bool_]
    order: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.cards)


class Lineups:
    """Made anew when the catalogue changes."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._cards: Sequence[ModelCard] = ()
        self._made: dict[Mode, Lineup] = {}

    def of(self, route: str) -> Lineup:
        cards = self._catalogue.cards()
        if cards != self._cards:
            self._cards, self._made = cards, {}
        mode = modes(route)
        if mode not in self._made:
            self._made[mode] = lineup(card for card in cards if card.mode in mode)
        return self._made[mode]


def modes(route: str) -> Mode:
    return ("embedding",) if route.endswith("/embeddings") else ("chat", "completion", "responses")


def lineup(given: Iterable[ModelCard]) -> Lineup:
    cards = tuple(given)
    names = tuple(card.name for card in cards)
    return Lineup(
        cards=cards,
        names=names,
        answers=tuple(card.replaced_by or card.name for card in cards),
        abilities=tuple(frozenset(card.capabilities) for card in cards),
        input_usd=_numbers([card.input_usd_per_million for card in cards], np.nan) / 1e6,
        output_usd=_numbers([card.output_usd_per_million for card in cards], np.nan) / 1e6,
        window=_numbers([card.context_window for card in cards], np.inf),
        longest=_numbers([card.max_output_tokens for card in cards], np.inf),
        deprecated=np.array([card.deprecated for card in cards], dtype=bool),
        order=np.argsort(np.argsort(np.array(names, dtype=object))) if names else np.zeros(0, dtype=np.int64),
    )


def _numbers(values: Sequence[float | None], unknown: float) -> Floats:
    return np.array([unknown if value is None else value for value in values], dtype=np.float64)
