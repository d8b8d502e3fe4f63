"""Numbers that all workers add up together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from sentinella_plugins.router.models import Tally

Kind = Literal["experiment", "shadow"]
TallyKey = tuple[Kind, str, str]
NONE = Tally()


class Tallies:
    """What all workers shared, and what this one did not share yet."""

    def __init__(self, most: int = 10_000) -> None:
        self._most = most
        self._shared: dict[TallyKey, Tally] = {}
        self._own: dict[TallyKey, Tally] = {}

    def add(self, key: TallyKey, value: float) -> None:
        if key in self._own or len(self._own) < self._most:
            self._own[key] = self._own.get(key, NONE).plus(value)

    def get(self, key: TallyKey) -> Tally:
        return self._shared.get(key, NONE) + self._own.get(key, NONE)

    def known(self) -> list[TallyKey]:
        return sorted({*self._shared, *self._own})

    def take(self) -> dict[TallyKey, Tally]:
        news, self._own = self._own, {}
        for key, tally in news.items():
            self._shared[key] = self._shared.get(key, NONE) + tally
        return news

    def give_back(self, news: Mapping[TallyKey, Tally]) -> None:
        for key, tally in news.items():
            self._shared[key] = self._shared[key] + Tally(-tally.n, -tally.total, -tally.squares)
            self._own[key] = self._own.get(key, NONE) + tally

    def adopt(self, shared: Mapping[TallyKey, Tally]) -> None:
        self._shared = dict(shared)
