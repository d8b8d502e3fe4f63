"""Vectors by number, nearest first: what every kind of index does, and one that changes its kind as it
grows."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from threading import RLock
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sentinella_plugins.vectors.config import IndexConfig
from sentinella_plugins.vectors.flat import FlatIndex
from sentinella_plugins.vectors.ivf import IvfIndex, train
from sentinella_plugins.vectors.models import Vector

logger = logging.getLogger(__name__)
Ids = NDArray[np.int64]
Near = tuple[Sequence[int], Sequence[float]]
_GROWTH = 4
_SAMPLE = 32
"""Vectors for each list, both when an index gets its lists and to train them."""

_LAST = 16
"""Changes that may be left when a new structure takes over: they are made while searches wait."""


class Index(Protocol):
    """Vectors have unit length, so that inner products are cosines. Numbers are not negative."""

    def add(self, id: int, vector: Vector) -> None:
        """Replaces the vector of the same number."""
        ...

    def remove(self, ids: Sequence[int]) -> int:
        """How many there were."""
        ...

    def search(self, vector: Vector, k: int) -> Near:
        """At most `k` numbers and their cosines, nearest first."""
        ...

    def __len__(self) -> int: ...

    @property
    def nbytes(self) -> int: ...


class GrowingIndex:
    """Exact and flat while it is small, IVF when it has grown. The new structure is built by what is submitted,
    in another thread, and takes over when it has everything. Thread-safe: everyone shares `lock`."""

    def __init__(
        self,
        dimensions: int,
        config: IndexConfig,
        lock: RLock,
        submit: Callable[[Callable[[], None]], object],
        on_swap: Callable[[], None] = lambda: None,
    ) -> None:
        self._config = config
        self._lock = lock
        self._submit = submit
        self._on_swap = on_swap
        self._dimensions = dimensions
        self._changes: dict[int, Vector | None] | None = None
        self._closed = False
        self._failed_at = 0
        self.now: FlatIndex | IvfIndex = FlatIndex(dimensions)

    def __len__(self) -> int:
        return len(self.now)

    @property
    def nbytes(self) -> int:
        return self.now.nbytes

    @property
    def kind(self) -> str:
        return "flat" if isinstance(self.now, FlatIndex) else "ivf"

    def add(self, id: int, vector: Vector) -> None:
        with self._lock:
            self.now.add(id, vector)
            if self._changes is not None:
                self._changes[id] = vector
            self._consider()

    def remove(self, ids: Sequence[int]) -> int:
        with self._lock:
            removed = self.now.remove(ids)
            if self._changes is not None:
                self._changes |= dict.fromkeys(ids)
            self._consider()
            return removed

    def search(self, vector: Vector, k: int) -> Near:
        with self._lock:
            return self.now.search(vector, k)

    def become(self, index: FlatIndex | IvfIndex) -> None:
        """Takes what was loaded in the place of what there is."""
        with self._lock:
            self.now = index

    def close(self) -> None:
        with self._lock:
            self._closed = True

    def _consider(self) -> None:
        if self._changes is None and (lists := self._wanted_lists()) is not None:
            self._changes = {}
            self._submit(lambda: self._rebuild(lists))

    def _wanted_lists(self) -> int | None:
        """0 is flat, `None` leaves things as they are."""
        size, lists = len(self.now), self.now.lists
        if not lists:
            grown = size > max(self._config.flat_below, 2 * self._failed_at)
            return self._lists(size) if grown else None
        if size < self._config.flat_below // _GROWTH:
            return 0
        grown = size >= _GROWTH * max(self.now.trained_on, self._failed_at)
        return self._lists(size) if grown and lists < self._lists(size) else None

    def _lists(self, size: int) -> int:
        return min(self._config.lists, int(2 ** max(1, (size // _SAMPLE).bit_length() - 1)))

    def _rebuild(self, lists: int) -> None:
        try:
            new = self._trained(lists) if lists else FlatIndex(self._dimensions)
            for ids, vectors in self._pieces():
                new.add_many(ids, vectors)
            self._take_over(new)
        except Exception:
            logger.exception("an index of %d vectors could not be rebuilt", len(self))
            with self._lock:
                self._failed_at, self._changes = len(self), None

    def _trained(self, lists: int) -> IvfIndex:
        size, most = len(self), lists * _SAMPLE
        step = -(-size // most) if size else 1
        sample = [vectors[::step] for _, vectors in self._pieces()]
        ranges = None if isinstance(self.now, FlatIndex) else self.now.ranges
        return train(np.concatenate(sample), lists, self._config.probes, ranges, size)

    def _pieces(self) -> Iterator[tuple[Ids, Vector]]:
        pieces = self.now.pieces()
        while not self._closed:
            with self._lock:
                piece = next(pieces, None)
            if piece is None:
                return
            yield piece

    def _take_over(self, new: FlatIndex | IvfIndex) -> None:
        while not self._closed:
            with self._lock:
                changes, self._changes = self._changes or {}, {}
                if len(changes) <= _LAST:
                    _apply(new, changes)
                    self.now, self._changes, self._failed_at = new, None, 0
                    self._on_swap()
                    return
            _apply(new, changes)


def _apply(index: FlatIndex | IvfIndex, changes: dict[int, Vector | None]) -> None:
    for id, vector in changes.items():
        if vector is None:
            index.remove([id])
        else:
            index.add(id, vector)
