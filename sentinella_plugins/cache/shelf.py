"""The exact layer: memory over the shared store."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace

import orjson

from sentinella_plugins.cache.config import CacheConfig
from sentinella_plugins.cache.eligibility import unkeepable_body
from sentinella_plugins.cache.memory import Lru
from sentinella_plugins.cache.store import is_sound
from sentinella_plugins.kernel.call import Json
from sentinella_plugins.kernel.clock import Clock
from sentinella_plugins.kernel.errors import Unavailable
from sentinella_plugins.storage.entries import Entries, Entry

logger = logging.getLogger(__name__)
Place = tuple[str, str]
CHAT, RAW = "ce_", "cr_"
"""How ids of chat answers and of other things begin."""

_BATCH = 64
_MOST_TOUCHED = 10_000
_OVERHEAD = 900
"""Bytes that a held answer takes beside its body."""


class Shelf:
    """What is kept is found at once in this worker; `write` brings it to the others."""

    def __init__(self, entries: Entries, clock: Clock, config: CacheConfig) -> None:
        self._entries = entries
        self._clock = clock
        self._memory: Lru[Place, Entry] = Lru(config.memory_bytes, _size)
        self._unwritten: dict[Place, Entry] = {}
        self._most_unwritten = config.queue_size
        self._touched: dict[Place, float] = {}
        self._busy: set[str] = set()
        self._written = asyncio.Event()
        self._writing = asyncio.Lock()
        self.lost = 0

    def held(self, tenant: str, entry_id: str) -> Entry | None:
        """What this worker knows without asking the store; without question and vector."""
        place = (tenant, entry_id)
        entry = self._memory.get(place) or self._unwritten.get(place)
        if entry is None:
            return None
        if entry.expires_at <= self._clock.now():
            self._memory.drop(place)
            return None
        self._touch(place)
        return entry

    async def find(self, tenant: str, entry_id: str) -> Entry | None:
        """Raises `Unavailable`. What is damaged is dropped."""
        held = self.held(tenant, entry_id)
        if held is not None:
            return held
        entry = await self._entries.get(tenant, entry_id)
        if entry is None or entry.expires_at <= self._clock.now():
            return None
        if not is_sound(entry) or (entry_id.startswith(CHAT) and readable(entry) is None):
            logger.warning("entry `%s` of the cache is damaged and was dropped", entry_id)
            await self.drop(tenant, [entry_id])
            return None
        self._memory.put((tenant, entry_id), _bare(entry))
        self._touch((tenant, entry_id))
        return entry

    def keep(self, entry: Entry) -> bool:
        """`False` when too many wait to be written."""
        place = (entry.tenant, entry.id)
        if len(self._unwritten) >= self._most_unwritten and place not in self._unwritten:
            self.lost += 1
            return False
        self._memory.put(place, _bare(entry))
        self._busy.add(entry.tenant)
        self._unwritten[place] = entry
        self._written.set()
        return True

    async def drop(self, tenant: str, ids: Sequence[str]) -> int:
        """How many there were in the store. Raises `Unavailable`; this worker forgets them at once."""
        for entry_id in ids:
            self.forget(tenant, entry_id)
        async with self._writing:  # else what is just being written would outlive it
            return await self._entries.drop(tenant, ids)

    def forget(self, tenant: str, entry_id: str) -> None:
        self._memory.drop((tenant, entry_id))
        self._unwritten.pop((tenant, entry_id), None)

    def forget_held(self, tenant: str, entry_id: str) -> None:
        """Only what the store can give again."""
        self._memory.drop((tenant, entry_id))

    def forget_older(self, outline: Entry) -> None:
        held = self._memory.get((outline.tenant, outline.id))
        if held is not None and held.created_at < outline.created_at:
            self._memory.drop((outline.tenant, outline.id))

    def forget_all(self) -> None:
        self._memory.clear()

    async def waiting(self) -> None:
        """Returns when something waits to be written."""
        await self._written.wait()

    async def write(self) -> None:
        """Writes what waits. Raises `Unavailable`; then it waits on."""
        self._written.clear()
        while self._unwritten:
            async with self._writing:
                batch = dict(list(self._unwritten.items())[:_BATCH])
                try:
                    await self._entries.put(list(batch.values()))
                except Unavailable:
                    self._written.set()
                    raise
            for place, entry in batch.items():
                if self._unwritten.get(place) is entry:
                    del self._unwritten[place]

    def busy(self) -> set[str]:
        """Tenants that more was kept for since this was asked before."""
        busy, self._busy = self._busy, set()
        return busy

    async def write_use(self) -> None:
        """Tells the store what was used."""
        used, self._touched = self._touched, {}
        await self._entries.touch(used)

    def _touch(self, place: Place) -> None:
        if len(self._touched) < _MOST_TOUCHED or place in self._touched:
            self._touched[place] = self._clock.now()


def _bare(entry: Entry) -> Entry:
    """What answers need: the store has the rest, and the index the vector. The body is copied since orjson
    makes it with room for more: 4 kB at least."""
    body = bytes(memoryview(entry.body))
    return replace(entry, body=body, question="", vector=b"", encoder="", checksum="")


def _size(entry: Entry) -> int:
    return len(entry.body) + _OVERHEAD


def readable(entry: Entry) -> Json | None:
    """The answer, when it is one that may be given."""
    try:
        body = orjson.loads(entry.body)
    except orjson.JSONDecodeError:
        return None
    return body if isinstance(body, dict) and unkeepable_body(body) is None else None
