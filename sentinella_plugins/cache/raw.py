"""Other things that are kept beside chat answers, by a key of their owner."""

from __future__ import annotations

import hashlib

from sentinella_plugins.cache.config import CacheConfig
from sentinella_plugins.cache.shelf import RAW, Shelf
from sentinella_plugins.cache.store import checksum
from sentinella_plugins.kernel.clock import Clock
from sentinella_plugins.storage.entries import Entry

_OVERHEAD = 400


class RawEntries:
    def __init__(self, shelf: Shelf, clock: Clock, config: CacheConfig) -> None:
        self._shelf = shelf
        self._clock = clock
        self._config = config

    async def get(self, tenant: str, key: str) -> bytes | None:
        """Raises `Unavailable`."""
        entry = await self._shelf.find(tenant, _id(key))
        return None if entry is None else entry.body

    def put(
        self, tenant: str, key: str, value: bytes, *, model: str = "", ttl_s: float | None = None
    ) -> bool:
        """Whether it is kept: it may be too large, or too much may wait to be written."""
        if len(value) > self._config.max_body_bytes:
            return False
        now, entry_id = self._clock.now(), _id(key)
        ttl = min(self._config.ttl_s if ttl_s is None else ttl_s, self._config.max_ttl_s)
        return self._shelf.keep(
            Entry(
                tenant=tenant,
                id=entry_id,
                scope="",
                body=value,
                checksum=checksum(tenant, entry_id, value),
                model=model,
                created_at=now,
                expires_at=now + ttl,
                bytes=len(value) + _OVERHEAD,
            )
        )


def _id(key: str) -> str:
    return RAW + hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:40]
