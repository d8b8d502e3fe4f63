"""Keeps a worker's index in step with the store that all workers share."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from sentinella_plugins.cache.semantic import Semantic
from sentinella_plugins.cache.shelf import Shelf
from sentinella_plugins.cache.snapshot import IndexFile
from sentinella_plugins.kernel.clock import Clock
from sentinella_plugins.storage.entries import Change, Entries, Entry

logger = logging.getLogger(__name__)
_PAGE = 500


class Follower:
    """`on_lag` hears after every round how old the oldest change is that is not known here, in seconds."""

    def __init__(
        self,
        entries: Entries,
        semantic: Semantic | None,
        shelf: Shelf,
        clock: Clock,
        on_lag: Callable[[float], None],
        file: IndexFile | None = None,
    ) -> None:
        self._entries = entries
        self._semantic = semantic
        self._shelf = shelf
        self._clock = clock
        self._on_lag = on_lag
        self._file = file
        self._position: str | None = None
        self._current = clock.now()

    @property
    def lag_s(self) -> float:
        return max(0.0, self._clock.now() - self._current)

    async def round(self) -> None:
        """Reads what is new, or everything when changes were missed. Raises `Unavailable`."""
        try:
            if self._position is None and self._file is not None:
                self._position = await self._file.restore()
            following = True
            while following:
                following = await self._follow(self._position)
            # One job after the other, so that lookups come between.
            while self._semantic is not None and await self._semantic.on_thread(lambda index: index.tidy()):
                pass
            if self._position is not None and self._file is not None:
                await self._file.save_when_due(self._position)
        finally:
            self._on_lag(self.lag_s)

    async def rebuild(self) -> None:
        """Reads every entry of the store. Raises `Unavailable`."""
        started, position = self._clock.now(), await self._entries.latest()
        if self._semantic is not None:
            await self._semantic.clear()
        self._shelf.forget_all()
        after: tuple[str, str] | None = None
        while page := await self._entries.walk(after, _PAGE):
            await self._add(page)
            after = (page[-1].tenant, page[-1].id)
        self._position, self._current = position, started

    async def _follow(self, position: str | None) -> bool:
        """Whether there may be more."""
        now = self._clock.now()
        if position is None:
            await self.rebuild()
            return True
        news = await self._entries.since(position, _PAGE)
        if news.lost:
            logger.warning("changes of the cache were missed: its index is built anew")
            await self.rebuild()
            return True
        await self._apply(news.changes)
        self._position = news.position
        more = len(news.changes) >= _PAGE
        self._current = news.changes[-1].at if more else now
        return more

    async def _apply(self, changes: Sequence[Change]) -> None:
        latest = {(change.tenant, change.id): change for change in changes}
        put: dict[str, list[str]] = {}
        for (tenant, entry_id), change in latest.items():
            if change.kind == "put":
                put.setdefault(tenant, []).append(entry_id)
            else:
                self._drop(change)
        for tenant, ids in put.items():
            await self._put(tenant, ids)

    def _drop(self, change: Change) -> None:
        if self._semantic is not None:
            self._semantic.forget((change.tenant, change.scope), change.id)
        self._shelf.forget_held(change.tenant, change.id)

    async def _put(self, tenant: str, ids: Sequence[str]) -> None:
        outlines = await self._entries.outlines(tenant, ids)
        for entry in outlines:
            self._shelf.forget_older(entry)
        await self._add(outlines)

    async def _add(self, outlines: Sequence[Entry]) -> None:
        if self._semantic is not None:
            await self._semantic.add(outlines)
