"""Vectors compared one by one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import faiss  # type: ignore[import-untyped]
import numpy as np
from numpy.typing import NDArray

from sentinella_plugins.vectors.models import Vector

ROWS = 1_024
_FEWEST = 4


class FlatIndex:
    """Exact. It grows by blocks, never by copying what it has, so that adding takes the same time at any
    size."""

    lists = 0

    def __init__(self, dimensions: int) -> None:
        self._dimensions = dimensions
        self._blocks: list[Vector] = []
        self._ids: list[int] = []
        self._rows: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def nbytes(self) -> int:
        return sum(block.nbytes for block in self._blocks) + 120 * len(self._ids)

    def add(self, id: int, vector: Vector) -> None:
        row = self._rows.get(id)
        if row is None:
            row = self._rows[id] = len(self._ids)
            self._make_room(row)
            self._ids.append(id)
        self._blocks[row // ROWS][row % ROWS] = vector

    def add_many(self, ids: NDArray[np.int64], vectors: Vector) -> None:
        for id, vector in zip(ids.tolist(), vectors, strict=True):
            self.add(id, vector)

    def remove(self, ids: Sequence[int]) -> int:
        before = len(self)
        for id in ids:
            row = self._rows.pop(id, None)
            if row is not None:
                self._fill(row)
        return before - len(self)

    def search(self, vector: Vector, k: int) -> tuple[list[int], list[float]]:
        size = len(self)
        k = min(k, size)
        if k < 1:
            return [], []
        cosines = np.empty(size, dtype=np.float32)
        asked = faiss.swig_ptr(vector)
        for start in range(0, size, ROWS):
            part = cosines[start : start + ROWS]
            # Not numpy's product: its BLAS may take every core for a millisecond of work.
            faiss.fvec_inner_products_ny(
                faiss.swig_ptr(part),
                asked,
                faiss.swig_ptr(self._blocks[start // ROWS]),
                self._dimensions,
                len(part),
            )
        best = np.argpartition(cosines, size - k)[size - k :]
        best = best[np.argsort(-cosines[best])]
        return [self._ids[row] for row in best.tolist()], cosines[best].tolist()

    def pieces(self) -> Iterator[tuple[NDArray[np.int64], Vector]]:
        """Copies of everything, the last rows first: what a removal moves while this runs has been seen."""
        for block in range(len(self._blocks) - 1, -1, -1):
            ids = np.array(self._ids[block * ROWS : (block + 1) * ROWS], dtype=np.int64)
            if len(ids):
                yield ids, self._blocks[block][: len(ids)].copy()

    def _make_room(self, row: int) -> None:
        if row >= ROWS:
            if row // ROWS == len(self._blocks):
                self._blocks.append(np.empty((ROWS, self._dimensions), dtype=np.float32))
        elif not self._blocks:
            self._blocks.append(np.empty((_FEWEST, self._dimensions), dtype=np.float32))
        elif row == len(self._blocks[0]):
            bigger = np.empty((2 * row, self._dimensions), dtype=np.float32)
            bigger[:row] = self._blocks[0]
            self._blocks[0] = bigger

    def _fill(self, row: int) -> None:
        """Moves the last row into the gap."""
        last = len(self._ids) - 1
        moved = self._ids.pop()
        if row != last:
            self._ids[row] = moved
            self._rows[moved] = row
            self._blocks[row // ROWS][row % ROWS] = self._blocks[last // ROWS][last % ROWS]
        if last and last % ROWS == 0:
            self._blocks.pop()
