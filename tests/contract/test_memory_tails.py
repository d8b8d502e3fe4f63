"""Histories in Redis beside the database: read from there, and never older than the session."""

from __future__ import annotations

import asyncio
import itertools
import random
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from redis.asyncio import Redis
from sqlalchemy import text

from sentinella_plugins.kernel.call import Json, Principal
from sentinella_plugins.kernel.clock import Clock, ManualClock
from sentinella_plugins.memory.archive import Shelf
from sentinella_plugins.memory.models import SessionNotFound
from sentinella_plugins.storage.shared import SharedValues
from tests import servers
from tests.contract.conftest import Place
from tests.unit.memory.worker import ACME, Worker, assistant, call_of, opened, success, texts, user

pytestmark = [pytest.mark.asyncio, pytest.mark.redis]
ALL = Shelf("acme")
SAID = [user("one"), assistant("re: one")]
_numbers = itertools.count()
Hire = Callable[..., AbstractAsyncContextManager[Worker]]


@asynccontextmanager
async def hired(
    url: str, redis: str, prefix: str, clock: Clock | None = None, **settings: object
) -> AsyncIterator[Worker]:
    """A worker that remembers nothing by itself unless it is told to."""
    values = SharedValues(redis, "memory", max_bytes=1_000_000, ttl_s=60, timeout_s=1, prefix=prefix)
    try:
        async with opened(url, clock, values, **{"cache_sessions": 0, **settings}) as worker:
            yield worker
    finally:
        await values.close()


@pytest.fixture
def prefix() -> str:
    return f"{{tails-{next(_numbers)}}}:"


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'db.sqlite'}"


@pytest.fixture
def hire(url: str, valkey: servers.Valkey, prefix: str) -> Hire:
    return lambda *given, **settings: hired(url, valkey.url, prefix, *given, **settings)


@pytest_asyncio.fixture
async def raw(valkey: servers.Valkey) -> AsyncIterator[Redis]:
    client = Redis.from_url(valkey.url, decode_responses=True, protocol=2)
    yield client
    await client.aclose()


async def kept(raw: Redis, prefix: str) -> list[str]:
    return [name async for name in raw.scan_iter(f"{prefix}memory:v:*")]


async def lose_messages(worker: Worker) -> None:
    """Behind everybody's back, so that what is still shown cannot come from the database."""
    await worker.database.write(lambda c: c.execute(text("DELETE FROM session_messages")).close())


async def same(worker: Worker, plain: Worker) -> None:
    """Summaries are made meanwhile: looked at again when one came in between."""
    before, seen, after = await plain.shown(), await worker.shown(), await plain.shown()
    while before != after:
        before, seen, after = await plain.shown(), await worker.shown(), await plain.shown()
    assert seen == before


async def stored(worker: Worker) -> list[Json]:
    head = await worker.service.library.get(ALL, "s")
    return [m.body async for page in worker.service.library.everything(head) for m in page]


async def test_the_turn_of_another_worker_is_read_from_redis(
    sql_place: Place, valkey: servers.Valkey, prefix: str
) -> None:
    there = (sql_place.url, valkey.url, prefix)
    async with hired(*there) as one, hired(*there) as two:
        await one.say("one")
        await one.service.idle()
        await lose_messages(one)
        assert await two.shown() == SAID
        assert texts(await two.say("two")) == ["one", "re: one", "two"]
        await two.service.idle()
        assert texts(await one.shown()) == ["one", "re: one", "two", "re: two"]


async def test_what_was_read_from_the_database_is_there_for_all(url: str, hire: Hire) -> None:
    async with opened(url) as alone, hire() as one, hire() as two:
        await alone.say("one")
        assert await one.shown() == SAID
        await one.service.idle()
        await lose_messages(one)
        assert await two.shown() == SAID


async def test_a_worker_remembers_what_it_read_from_redis(hire: Hire, raw: Redis, prefix: str) -> None:
    async with hire() as one, hire(cache_sessions=10) as two:
        await one.say("one")
        await one.service.idle()
        await two.shown()
        await lose_messages(one)
        await raw.delete(*await kept(raw, prefix))
        assert await two.shown() == SAID


async def test_an_empty_redis_costs_nothing_but_a_read(hire: Hire, raw: Redis, prefix: str) -> None:
    async with hire() as one, hire() as two:
        await one.say("one")
        await one.service.idle()
        await raw.delete(*await kept(raw, prefix))
        assert await two.shown() == SAID


@pytest.mark.parametrize("damage", ["", "null", "[]", "[1, 2]", "{", '[[], [["x"]]]'])
async def test_a_damaged_history_is_not_used(hire: Hire, raw: Redis, prefix: str, damage: str) -> None:
    async with hire() as one:
        await one.say("one")
        await one.service.idle()
        (name,) = await kept(raw, prefix)
        await raw.set(name, damage)
        assert await one.shown() == SAID


@pytest.mark.parametrize("bounds", [{"max_loaded_messages": 10}, {"max_history_tokens": 3}])
async def test_workers_that_read_less_do_not_share_with_those_that_read_more(
    hire: Hire, bounds: dict[str, int]
) -> None:
    async with hire(**bounds) as less, hire() as more:
        for number in range(8):
            await less.say(f"q{number}")
        await less.service.idle()
        assert len(await more.shown()) == 16


async def test_long_histories_stay_in_the_database(hire: Hire, raw: Redis, prefix: str) -> None:
    async with hire(shared={"max_tail_bytes": 100}) as one:
        await one.say("one")
        await one.say("two")
        await one.service.idle()
        assert len(await kept(raw, prefix)) == 1
        assert len(await one.shown()) == 4


async def test_a_tenant_sees_its_own(hire: Hire) -> None:
    stranger = Principal(tenant="other", key_id="key_1")
    async with hire() as one, hire() as two:
        await one.say("one")
        await one.say("mine", who=stranger)
        await one.service.idle()
        await lose_messages(one)
        assert await two.shown() == SAID
        assert await two.shown(who=stranger) == [user("mine"), assistant("re: mine")]
        assert await two.shown(who=Principal(tenant="third", key_id="key_1")) == []


async def test_a_deleted_session_leaves_redis_too(hire: Hire, raw: Redis, prefix: str) -> None:
    async with hire() as one, hire() as two:
        await one.say("one")
        await one.say("one", session="t")
        await one.service.idle()
        assert len(await kept(raw, prefix)) == 2
        await two.service.library.delete(ALL, "s")
        assert len(await kept(raw, prefix)) == 1
        assert await one.say("anew") == [user("anew")]
        await one.service.idle()
        await two.service.library.delete_all(ALL)
        assert await kept(raw, prefix) == []
        assert await one.shown() == []


async def test_a_turn_that_lost_its_lease_hides_nothing(hire: Hire) -> None:
    clock = ManualClock()
    async with hire(clock) as paused, hire(clock) as other:
        await other.say("before")
        call = await paused.stage.enter(call_of(user("slow")))
        clock.advance(21)
        await other.say("quick")
        await paused.stage.leave(call, success())
        await asyncio.gather(paused.service.idle(), other.service.idle())
        assert texts(await other.shown()) == ["before", "re: before", "quick", "re: quick", "slow", "fine"]
        assert await paused.shown() == await other.shown() == await stored(other)


async def test_a_database_set_back_to_yesterday_is_believed(tmp_path: Path, hire: Hire) -> None:
    clock = ManualClock()
    async with hire(clock) as worker:
        await worker.say("one")
    for name in ("db.sqlite", "db.sqlite-wal"):
        if (tmp_path / name).exists():
            shutil.copy(tmp_path / name, tmp_path / f"{name}.old")
    async with hire(clock) as worker:
        await worker.say("undone")
    for name in ("db.sqlite", "db.sqlite-wal"):
        (tmp_path / name).unlink(missing_ok=True)
        if (tmp_path / f"{name}.old").exists():
            shutil.copy(tmp_path / f"{name}.old", tmp_path / name)
    async with hire(clock) as worker:
        assert await worker.shown() == SAID
        clock.advance(1)
        await worker.say("two")
        assert texts(await worker.shown()) == ["one", "re: one", "two", "re: two"]


async def test_turns_of_two_workers_are_ordered_and_none_is_lost(hire: Hire) -> None:
    async with hire() as one, hire(cache_sessions=10) as two:
        await asyncio.gather(*(room.say(f"{n}") for n in range(10) for room in (one, two)))
        said = texts(await stored(one))
        assert [str(text).removeprefix("re: ") for text in said[1::2]] == said[::2]
        assert len(said) == 40
        assert await one.shown() == await two.shown() == await stored(two)


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_happens_the_history_is_that_of_the_database(
    url: str, hire: Hire, raw: Redis, prefix: str, seed: int
) -> None:
    """Saves, deletions, summaries and shedding by three workers, Redis losing things in between."""
    chance = random.Random(seed)
    bounds = {"summarise_after": 6, "keep_last": 2, "max_messages": 12}
    async with (
        opened(url, cache_sessions=0, **bounds) as plain,
        hire(**bounds) as one,
        hire(**bounds) as two,
        hire(cache_sessions=10, **bounds) as three,
    ):
        workers = (one, two, three)
        for number in range(40):
            actor = chance.choice(workers)
            match chance.choices(["say", "delete", "sum up", "lose"], [30, 2, 4, 2])[0]:
                case "say":
                    await actor.say(f"q{number}")
                case "delete":
                    await actor.service.library.delete_all(ALL)
                case "lose":
                    names = await kept(raw, prefix)
                    await raw.delete("none", *names)
                case _:
                    heads, _ = await actor.service.library.page(ALL, 1, None)
                    if heads:
                        await actor.service.library.summarise(ALL, "s", ACME)
            if chance.random() < 0.5:
                await actor.service.idle()
            await same(chance.choice(workers), plain)


async def test_without_redis_the_database_is_read_and_somebody_is_told(url: str) -> None:
    clock = ManualClock()
    with servers.valkey() as server:
        async with hired(url, server.url, "p:", clock) as one, hired(url, server.url, "p:", clock) as two:
            await one.say("one")
            await one.service.idle()
            await asyncio.to_thread(server.stop)
            assert await two.shown() == SAID
            await two.say("two")
            assert [(event.part, event.tenant) for event in two.told] == [("memory", "acme")]
            assert "Redis" in two.told[0].error
            await one.service.library.delete(ALL, "s")
            with pytest.raises(SessionNotFound):
                await stored(two)
            await one.say("three")
            await asyncio.to_thread(server.start)
            clock.advance(1)
            for said in (two.shown(), two.say("four")):
                await said
                await two.service.idle()
            await lose_messages(two)
            assert texts(await one.shown()) == ["three", "re: three", "four", "re: four"]
