from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
import pytest_asyncio

from sentinella_plugins.kernel.call import Call, Json, Outcome, Principal, Reply
from sentinella_plugins.kernel.clock import SystemClock
from sentinella_plugins.kernel.events import Events
from sentinella_plugins.kernel.flights import Flights, Follower, Leader
from sentinella_plugins.replay.config import ReplayConfig
from sentinella_plugins.replay.service import ReplayService
from sentinella_plugins.storage.database import Database

BODY: Json = {"id": "chatcmpl-1", "model": "gpt", "choices": []}
_numbers = itertools.count()


def _call(tenant: str = "acme", headers: dict[str, str] | None = None, **body: object) -> Call:
    return Call(
        id=f"req_{next(_numbers)}",
        route="/v1/chat/completions",
        requested="gpt",
        model="gpt",
        body={"messages": [], "temperature": 0, **body},
        principal=Principal(tenant=tenant, key_id="key_1"),
        headers=headers or {},
        received_at=0.0,
        started=0.0,
    )


def _success(body: Json | None = BODY) -> Outcome:
    return Outcome(status="success", model="gpt", body=body)


ERROR, CANCELLED = Outcome(status="error"), Outcome(status="cancelled")


@pytest_asyncio.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'db.sqlite'}", clock=SystemClock())
    await database.open()
    yield database
    await database.close()


@pytest.fixture
def service(database: Database) -> ReplayService:
    return _service(database)


def _service(database: Database, **settings: object) -> ReplayService:
    return ReplayService(database, Events(), SystemClock(), ReplayConfig.model_validate(settings))


async def _lead(service: ReplayService, call: Call) -> Call:
    entered = await service.enter(call)
    assert isinstance(entered, Call) and entered.note(Leader) is not None
    return entered


async def _follow(service: ReplayService, count: int) -> list[asyncio.Task[Call | Reply]]:
    tasks = [asyncio.create_task(service.enter(_call())) for _ in range(count)]
    await asyncio.sleep(0)
    assert not any(task.done() for task in tasks)
    return tasks


async def _done(tasks: list[asyncio.Task[Call | Reply]]) -> list[asyncio.Task[Call | Reply]]:
    for _ in range(5):
        await asyncio.sleep(0)
    return [task for task in tasks if task.done()]


@pytest.mark.asyncio
async def test_a_hundred_identical_calls_ask_once(service: ReplayService) -> None:
    runs = 0

    async def serve() -> Json:
        nonlocal runs
        entered = await service.enter(_call())
        if isinstance(entered, Reply):
            assert entered.source == "coalesced"
            return entered.body
        runs += 1
        await asyncio.sleep(0.05)
        await service.leave(entered, _success())
        return BODY

    assert await asyncio.gather(*(serve() for _ in range(100))) == [BODY] * 100
    assert runs == 1
    assert isinstance(await service.enter(_call()), Call), "an answer is shared only while it is made"


@pytest.mark.asyncio
async def test_others_do_not_wait(service: ReplayService) -> None:
    await _lead(service, _call())
    await _lead(service, _call(tenant="other"))
    await _lead(service, _call(seed=1))
    alone = await service.enter(_call(temperature=1))
    assert isinstance(alone, Call) and alone.note(Leader) is None


@pytest.mark.asyncio
@pytest.mark.parametrize("outcome", [ERROR, CANCELLED, Outcome(status="refused")])
async def test_one_follower_takes_the_place_of_a_leader_that_fails(
    service: ReplayService, outcome: Outcome
) -> None:
    leader = await _lead(service, _call())
    followers = await _follow(service, 10)
    await service.leave(leader, outcome)
    [promoted] = await _done(followers)
    second = promoted.result()
    assert isinstance(second, Call)
    await service.leave(second, _success())
    followers.remove(promoted)
    assert await asyncio.gather(*followers) == [Reply(BODY, "coalesced")] * 9


@pytest.mark.asyncio
async def test_after_a_second_failure_all_ask(service: ReplayService) -> None:
    leader = await _lead(service, _call())
    followers = await _follow(service, 5)
    for outcome in (CANCELLED, ERROR, CANCELLED):
        await service.leave(leader, outcome)
        [promoted] = await _done(followers)
        followers.remove(promoted)
        result = promoted.result()
        assert isinstance(result, Call) and result.note(Leader) is not None
        leader = result
    await service.leave(leader, ERROR)
    calls = await asyncio.gather(*followers)
    assert all(isinstance(call, Call) and call.note(Leader) is None for call in calls)
    await _lead(service, _call())


@pytest.mark.asyncio
async def test_a_success_without_a_body_lets_all_ask(service: ReplayService) -> None:
    leader = await _lead(service, _call())
    followers = await _follow(service, 3)
    await service.leave(leader, _success(None))
    assert all(isinstance(call, Call) for call in await asyncio.gather(*followers))


@pytest.mark.asyncio
async def test_waiting_ends(database: Database) -> None:
    service = _service(database, coalesce_wait_s=0.05)
    leader = await _lead(service, _call())
    alone = await service.enter(_call())
    assert isinstance(alone, Call) and alone.note(Leader) is None
    await service.leave(alone, _success())
    await service.leave(leader, _success())
    await _lead(service, _call())


@pytest.mark.asyncio
async def test_only_so_many_wait(database: Database) -> None:
    service = _service(database, max_followers=2)
    await _lead(service, _call())
    await _follow(service, 2)
    alone = await service.enter(_call())
    assert isinstance(alone, Call) and alone.note(Leader) is None


@pytest.mark.asyncio
async def test_a_follower_that_goes_away_as_it_is_promoted_passes_it_on(service: ReplayService) -> None:
    leader = await _lead(service, _call())
    first, second, third = await _follow(service, 3)
    second.cancel()
    await asyncio.sleep(0)
    await service.leave(leader, ERROR)
    first.cancel()
    assert await _done([first, second, third]) == [first, second, third]
    assert first.cancelled() and second.cancelled()
    promoted = third.result()
    assert isinstance(promoted, Call) and promoted.note(Leader) is not None


@pytest.mark.asyncio
async def test_nothing_stays_behind() -> None:
    flights = Flights(10)

    async def follow(follower: Follower) -> None:
        with suppress(asyncio.CancelledError):
            told = await flights.wait(follower, 1)
            if isinstance(told, Leader):
                flights.fail(told, cancelled=False)

    leader = flights.join("f")
    assert isinstance(leader, Leader)
    seats = [flights.join("f") for _ in range(10)]
    tasks = [asyncio.create_task(follow(seat)) for seat in seats if isinstance(seat, Follower)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    flights.fail(leader, cancelled=True)
    await asyncio.gather(*tasks)
    assert len(flights) == 0 and not leader.flight.waiting


@pytest.mark.asyncio
async def test_a_key_is_kept_for_a_follower_too(service: ReplayService) -> None:
    leader = await _lead(service, _call())
    following = asyncio.create_task(service.enter(_call(headers={"idempotency-key": "k"})))
    await asyncio.sleep(0.1)
    await service.leave(leader, _success())
    assert await following == Reply(BODY, "coalesced")
    assert await service.enter(_call(headers={"idempotency-key": "k"})) == Reply(BODY, "idempotency")


@pytest.mark.asyncio
async def test_a_follower_that_goes_away_sets_its_key_free(service: ReplayService) -> None:
    await _lead(service, _call())
    following = asyncio.create_task(service.enter(_call(headers={"idempotency-key": "k"})))
    await asyncio.sleep(0.1)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    again = await service.enter(_call(headers={"idempotency-key": "k"}, seed=3))
    assert isinstance(again, Call)
