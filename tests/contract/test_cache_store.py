"""What every store of kept answers promises."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import pytest_asyncio

from sentinella_plugins.kernel.clock import ManualClock
from sentinella_plugins.storage.entries import Entries, Entry, Match, News, Size
from sentinella_plugins.storage.entries_redis import RedisEntries
from sentinella_plugins.storage.entries_sql import SqlEntries
from tests.contract.conftest import SQL, Place, database

pytestmark = pytest.mark.asyncio
BACKENDS = [*SQL, pytest.param("redis", marks=pytest.mark.redis)]
NOW = ManualClock().now()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(params=BACKENDS)
def where(request: pytest.FixtureRequest, place_of: Callable[[str], Place]) -> Place:
    return place_of(request.param)


@asynccontextmanager
async def opened(place: Place, clock: ManualClock, log_size: int = 1_000) -> AsyncIterator[Entries]:
    if place.backend == "redis":
        shared = RedisEntries(place.url, clock=clock, prefix=place.prefix, log_size=log_size)
        await shared.open()
        yield shared
        await shared.close()
    else:
        async with database(place.url, clock) as found:
            yield SqlEntries(found, clock, log_size=log_size)


@pytest_asyncio.fixture
async def store(where: Place, clock: ManualClock) -> AsyncIterator[Entries]:
    async with opened(where, clock) as found:
        yield found


def entry(entry_id: str, tenant: str = "acme", **changes: object) -> Entry:
    whole = Entry(
        tenant=tenant,
        id=entry_id,
        scope="s1",
        body='{"é": "\u2028 ☃"}'.encode(),
        checksum="c",
        model="gpt",
        created_at=NOW,
        expires_at=NOW + 60,
        question="Größe?\nzwei",
        vector=bytes(range(256)),
        encoder="e",
        provider="openai",
        cost=2**53,
        tags=("a", "b%_"),
        bytes=100,
    )
    return replace(whole, **changes)  # type: ignore[arg-type]


def ids(entries: object) -> list[str]:
    return [one.id for one in entries]  # type: ignore[attr-defined]


async def test_what_was_put_is_found_unchanged_by_its_tenant_only(store: Entries) -> None:
    await store.put([entry("e1")])
    assert await store.get("acme", "e1") == entry("e1")
    assert await store.get("other", "e1") is None
    assert await store.outlines("acme", ["e1", "e2"]) == [entry("e1").outline()]
    assert await store.outlines("other", ["e1"]) == []
    assert await store.drop("other", ["e1"]) == 0
    assert await store.size("other") == Size()
    assert await store.page("other", None, 10) == []
    assert await store.find("other", Match(), 10) == []


async def test_a_second_put_replaces(store: Entries) -> None:
    await store.put([entry("e1"), entry("e1", "other")])
    await store.put([entry("e1", body=b"new", bytes=40, question="", vector=b"", tags=())])
    found = await store.get("acme", "e1")
    assert found is not None
    assert (found.body, found.question, found.vector, found.tags) == (b"new", "", b"", ())
    assert await store.size("acme") == Size(1, 40)
    assert await store.size("other") == Size(1, 100)


async def test_dropping_counts_what_existed(store: Entries) -> None:
    await store.put([entry("e1"), entry("e2"), entry("e1", "other")])
    assert await store.drop("acme", ["e1", "e3", "e1"]) == 1
    assert await store.get("acme", "e1") is None
    assert await store.get("other", "e1") is not None
    assert await store.size("acme") == Size(1, 100)
    assert await store.drop("acme", []) == 0
    assert await store.drop("acme", ["e2"]) == 1
    assert await store.size("acme") == Size()
    assert [one.tenant for one in await store.walk(None, 10)] == ["other"]


async def test_finding_by_model_tag_and_age(store: Entries) -> None:
    await store.put(
        [
            entry("e1", created_at=NOW - 9),
            entry("e2", model="claude", tags=("b",)),
            entry("e3", tags=("ab",), created_at=NOW - 5),
        ]
    )
    assert await store.find("acme", Match(), 10) == ["e1", "e3", "e2"]
    assert await store.find("acme", Match(), 1) == ["e1"]
    assert await store.find("acme", Match(model="gpt"), 10) == ["e1", "e3"]
    assert await store.find("acme", Match(tag="b"), 10) == ["e2"]
    assert await store.find("acme", Match(tag="b%_"), 10) == ["e1"]
    assert await store.find("acme", Match(tag="%"), 10) == []
    assert await store.find("acme", Match(created_before=NOW - 5), 10) == ["e1"]
    assert await store.find("acme", Match(model="gpt", tag="ab", created_before=NOW), 10) == ["e3"]


async def test_pages_hold_everything_once(store: Entries) -> None:
    everything = {(tenant, f"e{number}") for tenant in ("a", "b", "c-d") for number in range(7)}
    await store.put([entry(entry_id, tenant) for tenant, entry_id in everything])
    first = await store.page("a", None, 4)
    assert ids(first) + ids(await store.page("a", first[-1].id, 4)) == [f"e{number}" for number in range(7)]
    walked: list[tuple[str, str]] = []
    while page := await store.walk(walked[-1] if walked else None, 4):
        assert all(one.body == b"" for one in page)
        walked += [(one.tenant, one.id) for one in page]
    assert (len(walked), set(walked)) == (len(everything), everything)


async def test_expired_entries_are_trimmed(store: Entries) -> None:
    await store.put([entry("e1", expires_at=NOW + 1), entry("e2", "other", expires_at=NOW + 2), entry("e3")])
    assert await store.get("acme", "e1") is not None
    assert await store.trim(NOW + 2, 1) == 1
    assert await store.trim(NOW + 2, 10) == 1
    assert await store.trim(NOW + 2, 10) == 0
    assert [one.tenant for one in await store.walk(None, 10)] == ["acme"]
    assert await store.size("acme") == Size(1, 100)


async def test_what_was_unused_for_longest_is_evicted(store: Entries) -> None:
    await store.put([entry(f"e{number}", created_at=NOW + number) for number in range(5)])
    await store.put([entry("e0", "other")])
    await store.touch({("acme", "e0"): NOW + 50, ("acme", "e1"): NOW - 50, ("acme", "gone"): NOW})
    assert await store.evict("acme", Size(4, 10_000), 10) == 1
    assert ids(await store.page("acme", None, 10)) == ["e0", "e2", "e3", "e4"]
    assert await store.evict("acme", Size(100, 250), 1) == 1
    assert await store.evict("acme", Size(100, 250), 10) == 1
    assert ids(await store.page("acme", None, 10)) == ["e0", "e4"]
    assert await store.evict("acme", Size(100, 250), 10) == 0
    assert await store.size("other") == Size(1, 100)


def told(news: News) -> list[tuple[str, str, str, str]]:
    return [(change.kind, change.tenant, change.id, change.scope) for change in news.changes]


async def test_changes_are_told_in_their_order(store: Entries, clock: ManualClock) -> None:
    start = await store.latest()
    assert not (await store.since(start, 10)).changes
    await store.put([entry("e1", scope="s2")])
    clock.advance(5)
    await store.drop("acme", ["e1", "unknown"])
    await store.put([entry("e2", "other", expires_at=NOW)])
    await store.trim(NOW, 10)
    news = await store.since(start, 10)
    assert told(news) == [
        ("put", "acme", "e1", "s2"),
        ("drop", "acme", "e1", "s2"),
        ("put", "other", "e2", "s1"),
        ("drop", "other", "e2", "s1"),
    ]
    assert [change.at for change in news.changes] == [NOW, NOW + 5, NOW + 5, NOW + 5]
    assert news.position == await store.latest()
    assert not (await store.since(news.position, 10)).changes
    first = await store.since(start, 1)
    assert told(first) + told(await store.since(first.position, 10)) == told(news)


async def test_who_missed_changes_is_told_so(where: Place, clock: ManualClock) -> None:
    async with opened(where, clock, log_size=100) as store:
        start = await store.latest()
        await store.put([entry(f"e{number}") for number in range(500)])
        await store.trim(NOW, 10)
        news = await store.since(start, 10)
        assert news.lost and not news.changes
        assert news.position == await store.latest()
        assert not (await store.since(news.position, 10)).lost


async def test_who_knows_more_than_the_store_missed_its_loss(store: Entries) -> None:
    await store.put([entry("e1")])
    ahead = "99999999999999-0" if isinstance(store, RedisEntries) else "999"
    assert (await store.since(ahead, 10)).lost
