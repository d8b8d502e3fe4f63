"""What a worker holds of the answers."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import orjson
import pytest

from sentinella_plugins.cache.config import CacheConfig
from sentinella_plugins.cache.shelf import Shelf
from sentinella_plugins.kernel.clock import ManualClock
from sentinella_plugins.storage.database import Database
from sentinella_plugins.storage.entries import Entry
from sentinella_plugins.storage.entries_sql import SqlEntries

pytestmark = pytest.mark.asyncio


def entry(number: int) -> Entry:
    return Entry(
        tenant="".join(["ac", "me"]),
        id=f"cr_{number:040}",
        scope=f"{number:064}",
        body=orjson.dumps([number] * 100),
        checksum=f"{number:064}",
        model="".join(["g", "pt"]),
        created_at=float(number),
        expires_at=1e9 + number,
        question=f"What is {number}?",
        vector=bytes(768),
        encoder="".join(["mini", "lm"]),
        bytes=2_000,
    )


async def test_what_is_held_takes_what_it_is_said_to(tmp_path: Path) -> None:
    clock = ManualClock(0.0)
    database = Database(f"sqlite:///{tmp_path}/s.db", clock=clock)
    await database.open()
    shelf = Shelf(SqlEntries(database, clock), clock, CacheConfig())
    seen = []
    tracemalloc.start()
    for number in range(3_000):
        shelf.keep(entry(number))
        if number % 50 == 49:
            await shelf.write()
        if number % 1_500 == 1_499:
            seen.append((tracemalloc.get_traced_memory()[0], shelf._memory.bytes))
    tracemalloc.stop()
    taken, told = (last - first for first, last in zip(*seen, strict=True))
    assert 0.6 * told < taken < 1.1 * told
    held = shelf.held("acme", f"cr_{7:040}")
    assert held is not None and orjson.loads(held.body) == [7] * 100 and held.vector == b""
    [outline] = await SqlEntries(database, clock).outlines("acme", [held.id])
    assert outline.question == "What is 7?" and outline.vector == bytes(768)
    await database.close()
