"""What workers share for a while, in a real Valkey."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from sentinella_plugins.kernel.errors import Unavailable
from sentinella_plugins.storage import StorageConfig
from sentinella_plugins.storage.shared import SharedValues, open_shared
from tests import servers

pytestmark = [pytest.mark.asyncio, pytest.mark.redis]
_numbers = itertools.count()


@asynccontextmanager
async def opened(url: str, prefix: str, kind: str = "k", **changes: float) -> AsyncIterator[SharedValues]:
    limits = {"max_bytes": 100, "ttl_s": 60.0, **changes}
    values = SharedValues(url, kind, prefix=prefix, **limits)  # type: ignore[arg-type]
    try:
        yield values
    finally:
        await values.close()


@pytest.fixture
def prefix() -> str:
    return f"{{shared-{next(_numbers)}}}:"


@pytest_asyncio.fixture
async def values(valkey: servers.Valkey, prefix: str) -> AsyncIterator[SharedValues]:
    async with opened(valkey.url, prefix) as found:
        yield found


@pytest_asyncio.fixture
async def raw(valkey: servers.Valkey) -> AsyncIterator[Redis]:
    client = Redis.from_url(valkey.url, decode_responses=True, protocol=2)
    yield client
    await client.aclose()


async def test_what_was_put_is_found_by_others_until_it_is_dropped(
    valkey: servers.Valkey, values: SharedValues, prefix: str
) -> None:
    await values.put("a:b", 'é \u2028 "☃"\n\x00')
    async with opened(valkey.url, prefix) as other, opened(valkey.url, prefix, "another") as stranger:
        assert await other.get("a:b") == 'é \u2028 "☃"\n\x00'
        assert await stranger.get("a:b") is None
        await other.put("a:b", "new")
    assert await values.get("a:b") == "new"
    await values.drop(["a:b", "never"])
    await values.drop([])
    assert await values.get("a:b") is None


async def test_all_of_them_have_a_bound(values: SharedValues, raw: Redis, prefix: str) -> None:
    for name in "abc":
        await values.put(name, name * 30)
    await values.put("c", "c" * 31)
    await values.put("d", "d" * 30)
    assert [await values.get(name) is not None for name in "abcd"] == [False, True, True, True]
    assert await raw.get(f"{prefix}k:bytes") == "91"
    await values.put("d", "d" * 101)
    assert await values.get("d") is None
    assert await raw.get(f"{prefix}k:bytes") == "61"


async def test_a_value_ends_by_itself(valkey: servers.Valkey, raw: Redis, prefix: str) -> None:
    async with opened(valkey.url, prefix, ttl_s=0.02) as values:
        await values.put("a", "1" * 90)

        async def gone() -> bool:
            return await values.get("a") is None

        await servers.eventually(gone)
        await values.put("b", "2")
        assert await raw.get(f"{prefix}k:bytes") == "1"
        assert await raw.zrange(f"{prefix}k:ends", 0, -1) == ["b"]


@pytest.mark.parametrize("lost", ["ends", "sizes", "bytes"])
async def test_lost_books_are_begun_anew(values: SharedValues, raw: Redis, prefix: str, lost: str) -> None:
    for name in "abc":
        await values.put(name, name * 30)
    await raw.delete(f"{prefix}k:{lost}")
    for number in range(20):
        await values.put(f"n{number}", "x" * 30)
        assert await values.get(f"n{number}") is not None
    assert await raw.zcard(f"{prefix}k:ends") <= 6
    assert abs(int(await raw.get(f"{prefix}k:bytes") or 0)) <= 180


async def test_redis_goes_and_comes_back_empty() -> None:
    with servers.valkey() as server:
        async with opened(server.url, "p:", timeout_s=1.0) as values:
            await values.put("a", "1")
            await asyncio.to_thread(server.stop)
            refused: tuple[Callable[[], object], ...] = (
                lambda: values.get("a"),
                lambda: values.put("a", "2"),
                lambda: values.drop(["a"]),
            )
            for ask in refused:
                with pytest.raises(Unavailable) as told:
                    await ask()  # type: ignore[misc]
                assert str(server.port) not in str(told.value)
            await asyncio.to_thread(server.start)
            assert await values.get("a") is None
            await values.put("a", "3")
            assert await values.get("a") == "3"


async def test_without_a_redis_nothing_is_shared() -> None:
    assert open_shared(StorageConfig(), "k", max_bytes=1, ttl_s=1, timeout_s=1) is None
