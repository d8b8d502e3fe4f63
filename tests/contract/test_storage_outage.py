"""Servers that go away and come back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from sentinella_plugins.kernel.clock import SystemClock
from sentinella_plugins.kernel.errors import Unavailable
from sentinella_plugins.storage import Claim, Counters, Database, RedisCounters, Reservation, SqlCounters
from tests import servers

pytestmark = pytest.mark.asyncio


async def crowd(call: Callable[[int], Awaitable[object]]) -> list[object]:
    return await asyncio.gather(*(call(number) for number in range(30)), return_exceptions=True)


async def goes_and_comes_back(counters: Counters, server: servers.Valkey | servers.Postgres) -> None:
    claim = Claim("requests", 1, None, time.time() + 600)

    def reserve(label: str) -> Callable[[int], Awaitable[object]]:
        return lambda number: counters.reserve(Reservation(f"{label}-{number}", "w", (claim,)))

    assert not [answer for answer in await crowd(reserve("before")) if isinstance(answer, BaseException)]
    await asyncio.to_thread(server.stop)
    began = time.monotonic()
    for answer in await crowd(reserve("during")):
        assert isinstance(answer, Unavailable)
        assert str(server.port) not in str(answer)
    assert not await counters.healthy()
    assert time.monotonic() - began < 5
    await asyncio.to_thread(server.start)
    assert await counters.healthy()
    assert not [answer for answer in await crowd(reserve("after")) if isinstance(answer, BaseException)]


@pytest.mark.redis
async def test_redis_goes_and_comes_back() -> None:
    with servers.valkey() as server:
        counters = RedisCounters(server.url, timeout_s=2, clock=SystemClock())
        await goes_and_comes_back(counters, server)
        await counters.close()


@pytest.mark.redis
async def test_redis_that_restarts_between_two_calls_is_not_noticed() -> None:
    with servers.valkey() as server:
        counters = RedisCounters(server.url, timeout_s=2, clock=SystemClock())
        await crowd(lambda number: counters.reserve(Reservation(f"a-{number}", "w", ())))
        await asyncio.to_thread(server.stop)
        await asyncio.to_thread(server.start)
        answers = await crowd(lambda number: counters.reserve(Reservation(f"b-{number}", "w", ())))
        assert not [answer for answer in answers if isinstance(answer, BaseException)]
        await counters.close()


@pytest.mark.postgres
async def test_postgres_goes_and_comes_back() -> None:
    with servers.postgres() as server:
        database = Database(server.url, timeout_s=2, clock=SystemClock())
        await database.open()
        await goes_and_comes_back(SqlCounters(database, SystemClock()), server)
        await database.close()


@pytest.mark.postgres
async def test_postgres_that_restarts_between_two_calls_is_not_noticed() -> None:
    with servers.postgres() as server:
        database = Database(server.url, timeout_s=2, clock=SystemClock())
        await database.open()
        counters = SqlCounters(database, SystemClock())
        await counters.reserve(Reservation("a", "w", (Claim("open", 1, None, None),)))
        await counters.read(["open"])
        await asyncio.to_thread(server.stop)
        await asyncio.to_thread(server.start)
        assert await counters.read(["open"]) == {"open": 1}
        assert await counters.release("a")
        await database.close()
