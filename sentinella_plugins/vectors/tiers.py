"""The two ways in which vectors are kept: one by one, and in inverted lists."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from math import sqrt
from typing import Any

import faiss
import numpy as np

from sentinella_plugins.vectors.models import Vector

_faiss: Any = faiss  # its stubs know half of it
Neighbour = tuple[str, float]
_BLOCK = 1_024
_SPARE = 64
"""Rows that must be free before a block goes: one more and one less would else make and drop it in turn."""
_POINTS_PER_LIST = 8


class Flat:
    """Blocks of rows, so that growing never copies what is there."""

    def __init__(self, dimensions: int) -> None:
        self._dimensions = dimensions
        self._blocks: list[Vector] = []
        self._ids: list[str] = []
        self._row: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def nbytes(self) -> int:
        return sum(int(block.nbytes) for block in self._blocks)

    def add(self, entry_id: str, vector: Vector) -> None:
        row = len(self._ids)
        if row == self._rows():
            size = min(_BLOCK, max(2, row))  # most partitions keep few
            self._blocks.append(np.zeros((size, self._dimensions), np.float32))
            self._merge_small()
        self._ids.append(entry_id)
        self._row[entry_id] = row
        self._put(row, vector)

    def remove(self, entry_id: str) -> None:
        row, last = self._row.pop(entry_id), len(self._ids) - 1
        moved = self._ids.pop()
        if row != last:
            self._put(row, self._at(last))
            self._ids[row], self._row[moved] = moved, row
        if len(self._blocks) > 1 and last <= self._rows() - len(self._blocks[-1]) - _SPARE:
            self._blocks.pop()

    def search(self, vector: Vector, k: int) -> Sequence[Neighbour]:
        if not self._ids:
            return []
        scores = np.concatenate([_products(block, vector) for block in self._blocks])[: len(self._ids)]
        best = np.argpartition(-scores, k - 1)[:k] if len(scores) > k else np.arange(len(scores))
        return [(self._ids[row], float(scores[row])) for row in best[np.argsort(-scores[best])]]

    def vector(self, entry_id: str) -> Vector:
        return self._at(self._row[entry_id])

    def sample(self, most: int) -> Vector:
        """At most so many rows, from all parts of it."""
        count = len(self._ids)
        chosen = range(0, count, -(-count // most)) if count > most else range(count)
        return np.stack([self._at(row) for row in chosen])

    def take(self, count: int) -> list[tuple[str, Vector]]:
        """Takes some out."""
        taken = [(entry_id, self.vector(entry_id).copy()) for entry_id in self._ids[-count:]]
        for entry_id, _ in taken:
            self.remove(entry_id)
        return taken

    def _rows(self) -> int:
        if not self._blocks:
            return 0
        return (len(self._blocks) - 1) * _BLOCK + len(self._blocks[-1])

    def _merge_small(self) -> None:
        """Only the last block is smaller than a whole one: the first ones grow by doubling."""
        if len(self._blocks) == 2 and len(self._blocks[0]) < _BLOCK:
            self._blocks = [np.concatenate(self._blocks)]

    def _at(self, row: int) -> Vector:
        vector: Vector = self._blocks[row // _BLOCK][row % _BLOCK]
        return vector

    def _put(self, row: int, vector: Vector) -> None:
        self._blocks[row // _BLOCK][row % _BLOCK] = vector


def _products(block: Vector, vector: Vector) -> Vector:
    """FAISS's own loop: numpy's product waits for threads that it does not need."""
    found = np.empty(len(block), np.float32)
    pointers = (_faiss.swig_ptr(array) for array in (found, vector, block))
    _faiss.fvec_inner_products_ny(*pointers, block.shape[1], len(block))
    return found


class Lists:
    """FAISS inverted lists of vectors in eight bits a number; each can be taken out again."""

    def __init__(self, index: Any, centres: Any, capacity: int) -> None:
        self._index = index
        self._centres = centres  # the index uses them and does not own them
        self._index.set_direct_map_type(_faiss.DirectMap.Hashtable)
        self.capacity = capacity
        self._numbers: dict[str, int] = {}
        self._names: dict[int, str] = {}
        self._next = 0

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def nbytes(self) -> int:
        return len(self._numbers) * (int(self._index.code_size) + 16)

    def add(self, items: Sequence[tuple[str, Vector]]) -> None:
        numbers = np.arange(self._next, self._next + len(items), dtype=np.int64)
        self._next += len(items)
        self._index.add_with_ids(np.stack([vector for _, vector in items]), numbers)
        for (entry_id, _), number in zip(items, numbers.tolist(), strict=True):
            self._numbers[entry_id] = number
            self._names[number] = entry_id

    def remove(self, entry_id: str) -> None:
        number = self._numbers.pop(entry_id)
        del self._names[number]
        chosen = np.array([number], dtype=np.int64)
        self._index.remove_ids(_faiss.IDSelectorArray(1, _faiss.swig_ptr(chosen)))

    def search(self, vector: Vector, k: int) -> Sequence[Neighbour]:
        scores, numbers = self._index.search(vector[None, :], k)
        pairs = zip(numbers[0].tolist(), scores[0].tolist(), strict=True)
        return [(self._names[number], score) for number, score in pairs if number >= 0]

    def vector(self, entry_id: str) -> Vector:
        vector: Vector = self._index.reconstruct(self._numbers[entry_id])
        return vector


class Training:
    """Finds the centres of a generation's lists in a thread of its own: a second or two."""

    def __init__(self, sample: Vector, capacity: int, probes: int) -> None:
        self._capacity = capacity
        self._trained: Lists | None = None
        self._sample = sample
        self._probes = probes
        self._thread = threading.Thread(target=self._train, name="sentinella-index-training", daemon=True)
        self._thread.start()

    @property
    def failed(self) -> bool:
        return self._trained is None and not self._thread.is_alive()

    def result(self) -> Lists | None:
        """`None` while it runs."""
        return self._trained

    def _train(self) -> None:
        _faiss.omp_set_num_threads(1)
        points, dimensions = self._sample.shape
        lists = max(1, min(int(2 * sqrt(self._capacity)), points // _POINTS_PER_LIST))
        centres = _faiss.IndexFlatIP(dimensions)
        index = _faiss.IndexIVFScalarQuantizer(
            centres, dimensions, lists, _faiss.ScalarQuantizer.QT_8bit, _faiss.METRIC_INNER_PRODUCT, False
        )
        index.cp.min_points_per_centroid = 1
        index.cp.niter = 8
        index.train(self._sample)
        index.nprobe = min(self._probes, lists)
        self._trained = Lists(index, centres, self._capacity)
