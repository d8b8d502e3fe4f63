"""Nearest vectors, partition by partition. Not thread-safe apart from `holds`: one thread owns an index."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence

import numpy as np

from sentinella_plugins.vectors.config import IndexConfig
from sentinella_plugins.vectors.models import Vector
from sentinella_plugins.vectors.tiers import Flat, Lists, Training

Partition = tuple[str, str]
"""Tenant and scope."""
Neighbour = tuple[str, float]
_MOVED_AT_ONCE = 32
_REST = 8
"""Where there are lists, so many times fewer stay flat: to compare thousands one by one takes longer than to
look into the lists of a hundred thousand."""

_MOST_POINTS = 32_768
"""That centres are made of: more would only take longer."""


class VectorIndex:
    """Unit vectors by partition and id, bounded over all; the tenant with the most loses its oldest first."""

    def __init__(self, config: IndexConfig | None = None) -> None:
        self._config = config or IndexConfig()
        self._shelves: OrderedDict[Partition, _Single | _Shelf] = OrderedDict()
        self._of_tenant: dict[str, int] = {}
        self._size = 0

    def __len__(self) -> int:
        return self._size

    @property
    def nbytes(self) -> int:
        return sum(shelf.nbytes for shelf in self._shelves.values())

    def add(self, partition: Partition, entry_id: str, vector: Vector) -> None:
        """Replaces the vector of the same id."""
        shelf = self._shelves.get(partition)
        if isinstance(shelf, _Single) and shelf.entry_id == entry_id:
            shelf.replace(vector)
            self._shelves.move_to_end(partition)
            return
        self.remove(partition, entry_id)
        self._put(partition, entry_id, vector)
        self._count(partition[0], 1)
        while self._size > self._config.max_entries:
            self._evict()

    def remove(self, partition: Partition, entry_id: str) -> bool:
        shelf = self._shelves.get(partition)
        if shelf is None or not shelf.remove(entry_id):
            return False
        self._count(partition[0], -1)
        if not len(shelf):
            del self._shelves[partition]
        return True

    def holds(self, partition: Partition, entry_id: str) -> bool:
        """From any thread, at any time."""
        shelf = self._shelves.get(partition)
        return shelf is not None and entry_id in shelf

    def search(self, partition: Partition, vector: Vector, k: int) -> Sequence[Neighbour]:
        """(id, cosine), nearest first."""
        shelf = self._shelves.get(partition)
        if shelf is None:
            return []
        self._shelves.move_to_end(partition)
        return shelf.search(vector, k)

    def tidy(self) -> bool:
        """Moves some vectors to where they are found sooner, in a few milliseconds; `False` when nothing can
        be moved now."""
        moved = [shelf.make_room() for shelf in self._shelves.values() if shelf.is_full]
        return any(moved)

    def clear(self) -> None:
        self._shelves.clear()
        self._of_tenant.clear()
        self._size = 0

    def items(self) -> Iterator[tuple[Partition, str, Vector]]:
        for partition, shelf in self._shelves.items():
            for entry_id, vector in shelf.items():
                yield partition, entry_id, vector

    def _put(self, partition: Partition, entry_id: str, vector: Vector) -> None:
        shelf = self._shelves.get(partition)
        if shelf is None:
            self._shelves[partition] = _Single(entry_id, vector)
            return
        if isinstance(shelf, _Single):
            single, shelf = shelf, _Shelf(len(vector), self._config)
            self._shelves[partition] = shelf
            shelf.add(single.entry_id, single.vector)
        shelf.add(entry_id, vector)

    def _count(self, tenant: str, by: int) -> None:
        self._size += by
        self._of_tenant[tenant] = self._of_tenant.get(tenant, 0) + by
        if not self._of_tenant[tenant]:
            del self._of_tenant[tenant]

    def _evict(self) -> None:
        most = max(self._of_tenant, key=self._of_tenant.__getitem__)
        partition = next(place for place in self._shelves if place[0] == most)
        self.remove(partition, self._shelves[partition].oldest())


class _Single:
    """A partition of one vector, as most are: in half precision, as the store keeps it, and without what
    makes many quick to search."""

    __slots__ = ("_packed", "entry_id")
    is_full = False

    def __init__(self, entry_id: str, vector: Vector) -> None:
        self.entry_id = entry_id
        self.replace(vector)

    def __len__(self) -> int:
        return 1 if self._packed else 0

    def __contains__(self, entry_id: str) -> bool:
        return entry_id == self.entry_id

    @property
    def nbytes(self) -> int:
        return len(self._packed)

    @property
    def vector(self) -> Vector:
        return np.frombuffer(self._packed, np.float16).astype(np.float32)

    def replace(self, vector: Vector) -> None:
        self._packed = vector.astype(np.float16).tobytes()

    def oldest(self) -> str:
        return self.entry_id

    def remove(self, entry_id: str) -> bool:
        if entry_id != self.entry_id:
            return False
        self._packed = b""
        return True

    def search(self, vector: Vector, k: int) -> Sequence[Neighbour]:
        return [(self.entry_id, float(self.vector @ vector))]

    def items(self) -> Iterator[tuple[str, Vector]]:
        yield self.entry_id, self.vector

    def make_room(self) -> bool:
        return False


class _Shelf:
    """One partition: the newest vectors flat, the others in generations of inverted lists.

    Nothing is ever built anew, so nothing stalls: when the last generation is full a larger one is trained
    beside the work, and `tidy` moves vectors there a few at a time.
    """

    def __init__(self, dimensions: int, config: IndexConfig) -> None:
        self._config = config
        self._flat = Flat(dimensions)
        self._generations: list[Lists] = []
        self._training: Training | None = None
        self._where: dict[str, Flat | Lists] = {}

    def __len__(self) -> int:
        return len(self._where)

    def __contains__(self, entry_id: str) -> bool:
        return entry_id in self._where

    @property
    def nbytes(self) -> int:
        return self._flat.nbytes + sum(lists.nbytes for lists in self._generations)

    @property
    def is_full(self) -> bool:
        most = self._config.flat_below
        return len(self._flat) > (most // _REST if self._generations else most)

    def oldest(self) -> str:
        return next(iter(self._where))

    def add(self, entry_id: str, vector: Vector) -> None:
        self._flat.add(entry_id, vector)
        self._where[entry_id] = self._flat

    def remove(self, entry_id: str) -> bool:
        where = self._where.pop(entry_id, None)
        if where is not None:
            where.remove(entry_id)
        return where is not None

    def search(self, vector: Vector, k: int) -> Sequence[Neighbour]:
        found = list(self._flat.search(vector, k))
        for lists in self._generations:
            found.extend(lists.search(vector, k))
        return sorted(found, key=lambda pair: -pair[1])[:k]

    def items(self) -> Iterator[tuple[str, Vector]]:
        for entry_id, where in self._where.items():
            yield entry_id, where.vector(entry_id)

    def make_room(self) -> bool:
        """Whether vectors were moved: not while the place for them is being made."""
        if self._training is not None:
            if self._training.failed:
                self._training = None
                return False
            trained = self._training.result()
            if trained is None:
                return False
            self._generations.append(trained)
            self._training = None
        target = self._generations[-1] if self._generations else None
        if target is None or len(target) >= target.capacity:
            if len(self._flat) <= self._config.flat_below:
                return False
            # After a restart all of them are flat: then one generation takes them all.
            capacity = 4 * max(target.capacity if target else self._config.flat_below, len(self._flat))
            self._training = Training(self._flat.sample(_MOST_POINTS), capacity, self._config.probes)
            return False
        moved = self._flat.take(_MOVED_AT_ONCE)
        target.add(moved)
        self._where.update((entry_id, target) for entry_id, _ in moved)
        return True
