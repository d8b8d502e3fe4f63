"""The index on disk, shared by the workers of one machine, so that a start need not read the whole store."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from sentinella_plugins.cache.models import Index, Partition
from sentinella_plugins.cache.semantic import Semantic
from sentinella_plugins.kernel.clock import Clock
from sentinella_plugins.vectors import snapshots
from sentinella_plugins.vectors.models import Vector

logger = logging.getLogger(__name__)
_CHUNK = 500


class IndexFile:
    """`every_s` is the pause between two snapshots, whichever worker makes them."""

    def __init__(self, path: Path, semantic: Semantic, clock: Clock, every_s: float) -> None:
        self._path = path
        self._semantic = semantic
        self._clock = clock
        self._every_s = every_s
        self._saved = ""

    async def restore(self) -> str | None:
        """The position of the log from which to go on; `None` when everything must be read anew."""
        try:
            found = await asyncio.to_thread(snapshots.load, self._path, self._semantic.encoder_name)
        except snapshots.BadSnapshot as error:
            if self._path.exists():
                logger.warning("the snapshot of the cache's index is not used: %s", error)
            return None
        await self._semantic.clear()
        for start in range(0, len(found.items), _CHUNK):
            rows = slice(start, start + _CHUNK)
            await self._semantic.add_vectors(found.items[rows], found.vectors[rows])
        self._saved = found.position
        return found.position

    async def save_when_due(self, position: str) -> None:
        if position == self._saved or not self._is_due():
            return
        self._saved = position
        items = await self._semantic.on_thread(_copied)
        name, dimensions = self._semantic.encoder_name, self._semantic.dimensions
        try:
            await asyncio.to_thread(snapshots.save, self._path, name, position, items, dimensions)
        except OSError as error:
            logger.warning("the snapshot of the cache's index could not be written: %s", error)

    def _is_due(self) -> bool:
        try:
            return self._clock.now() - self._path.stat().st_mtime >= self._every_s
        except OSError:
            return True


def _copied(index: Index) -> list[tuple[Partition, str, Vector]]:
    """The index may change while it is written."""
    return [(partition, entry_id, vector.copy()) for partition, entry_id, vector in index.items()]
