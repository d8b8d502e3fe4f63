"""Vectors in lists around centres; a search looks into the nearest lists. Components take a byte each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import faiss  # type: ignore[import-untyped]
import numpy as np
from numpy.typing import NDArray

from sentinella_plugins.vectors.models import Vector

_MARGIN = 0.1
_PER_VECTOR = 64
"""Bytes of the map from number to place."""


class IvfIndex:
    """Cosines are right to about 0.003. `trained_on` is how many vectors the centres were made for."""

    def __init__(self, centres: Vector, ranges: NDArray[np.float32], probes: int, trained_on: int) -> None:
        """`ranges` (2 d,) are the least value and the span of each component."""
        self.lists, self._dimensions = centres.shape
        self.centres, self.ranges, self.trained_on = centres, ranges, trained_on
        self._quantizer = faiss.IndexFlatIP(self._dimensions)
        self._quantizer.add(centres)
        self._index = faiss.IndexIVFScalarQuantizer(
            self._quantizer,
            self._dimensions,
            self.lists,
            faiss.ScalarQuantizer.QT_8bit,
            faiss.METRIC_INNER_PRODUCT,
            False,
        )
        faiss.copy_array_to_vector(ranges, self._index.sq.trained)
        self._index.is_trained = True
        self._index.nprobe = probes
        self._index.set_direct_map_type(faiss.DirectMap.Hashtable)  # else removing looks at everything

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @property
    def nbytes(self) -> int:
        return len(self) * (self._dimensions + 8 + _PER_VECTOR) + int(self.centres.nbytes)

    def add(self, id: int, vector: Vector) -> None:
        self.add_many(np.array([id], dtype=np.int64), vector[None])

    def add_many(self, ids: NDArray[np.int64], vectors: Vector) -> None:
        self._remove(ids)
        self._index.add_with_ids(vectors, ids)

    def remove(self, ids: Sequence[int]) -> int:
        return self._remove(np.array(ids, dtype=np.int64))

    def search(self, vector: Vector, k: int) -> tuple[list[int], list[float]]:
        if k < 1:
            return [], []
        cosines, ids = self._index.search(vector[None], k)
        found = int((ids[0] >= 0).sum())
        return ids[0, :found].tolist(), cosines[0, :found].tolist()

    def pieces(self) -> Iterator[tuple[NDArray[np.int64], Vector]]:
        """Copies of everything."""
        for ids, codes in self.coded():
            if len(ids):
                yield ids, self._index.sq.decode(codes)

    def coded(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint8]]]:
        """Copies of every list, in their order."""
        stored = self._index.invlists
        for number in range(self.lists):
            size = stored.list_size(number)
            if size:
                ids = faiss.rev_swig_ptr(stored.get_ids(number), size).copy()
                codes = faiss.rev_swig_ptr(stored.get_codes(number), size * self._dimensions).copy()
            else:
                ids, codes = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.uint8)
            yield ids, codes.reshape(size, self._dimensions)

    def restore(self, number: int, ids: NDArray[np.int64], codes: NDArray[np.uint8]) -> None:
        """Fills a list; call `restored` after the last one."""
        if len(ids):
            self._index.invlists.add_entries(number, len(ids), faiss.swig_ptr(ids), faiss.swig_ptr(codes))
            self._index.ntotal += len(ids)

    def restored(self) -> None:
        self._index.set_direct_map_type(faiss.DirectMap.NoMap)
        self._index.set_direct_map_type(faiss.DirectMap.Hashtable)

    def _remove(self, ids: NDArray[np.int64]) -> int:
        return int(self._index.remove_ids(faiss.IDSelectorArray(len(ids), faiss.swig_ptr(ids))))


def train(
    sample: Vector, lists: int, probes: int, ranges: NDArray[np.float32] | None, trained_on: int
) -> IvfIndex:
    """Seconds of CPU. With the `ranges` of an older index its vectors lose nothing when they are moved."""
    dimensions = sample.shape[1]
    means = faiss.Kmeans(
        dimensions,
        lists,
        niter=8,
        spherical=True,
        min_points_per_centroid=1,
        max_points_per_centroid=1 + len(sample) // lists,
        seed=1,
    )
    means.train(sample)
    if ranges is None:
        least, most = sample.min(axis=0), sample.max(axis=0)
        spare = _MARGIN * (most - least) + 1e-3
        ranges = np.concatenate([least - spare, most - least + 2 * spare]).astype(np.float32)
    return IvfIndex(means.centroids.reshape(lists, dimensions), ranges, probes, trained_on)
