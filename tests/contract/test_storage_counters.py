"""What every backend of `Counters` promises."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from sentinella_plugins.kernel.clock import ManualClock, SystemClock
from sentinella_plugins.storage import Claim, Counters, RedisCounters, Reservation
from tests.contract.conftest import Place
from tests.servers import Valkey, eventually

pytestmark = pytest.mark.asyncio


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest_asyncio.fixture
async def counters(place: Place, clock: ManualClock) -> AsyncIterator[Counters]:
    async with place.counters(clock) as opened:
        yield opened


def hold(identity: str, *claims: Claim, owner: str = "w1") -> Reservation:
    return Reservation(identity, owner, claims, {"route": "/v1/chat/completions", "nested": [1, {"a": None}]})


def window(key: str, amount: int, limit: int | None = None, *, expires_in: float = 60) -> Claim:
    return Claim(key, amount, limit, ManualClock().now() + expires_in)


def gauge(key: str, amount: int = 1, limit: int | None = None) -> Claim:
    return Claim(key, amount, limit, None)


async def test_all_claims_or_none(counters: Counters) -> None:
    first = await counters.reserve(
        hold("a", window("requests", 1, 2), window("tokens", 80, 100), gauge("open"))
    )
    assert (first.granted, first.used) == (True, (1, 80, 1))
    second = await counters.reserve(
        hold("b", window("requests", 1, 2), window("tokens", 80, 100), gauge("open", 1, 1))
    )
    assert (second.granted, second.used, second.refused) == (False, (1, 80, 1), (1, 2))
    assert await counters.read(["requests", "tokens", "open", "nothing"]) == {
        "requests": 1,
        "tokens": 80,
        "open": 1,
        "nothing": 0,
    }


async def test_a_claim_may_fill_its_limit_and_nothing_more(counters: Counters) -> None:
    assert (await counters.reserve(hold("a", window("k", 100, 100)))).granted
    assert (await counters.reserve(hold("b", window("k", 0, 100)))).granted
    assert not (await counters.reserve(hold("c", window("k", 1, 100)))).granted
    assert not (await counters.reserve(hold("d", window("zero", 1, 0)))).granted


async def test_a_refused_reservation_holds_nothing(counters: Counters) -> None:
    assert not (await counters.reserve(hold("a", window("k", 1, 0)))).granted
    assert not await counters.release("a")
    assert (await counters.reserve(hold("a", window("k", 1, 1)))).granted


async def test_an_id_is_used_once_at_a_time(counters: Counters) -> None:
    await counters.reserve(hold("a", window("k", 1)))
    with pytest.raises(ValueError, match="in use"):
        await counters.reserve(hold("a", window("k", 1)))
    answers = await asyncio.gather(
        *(counters.reserve(hold("b", window("k", 1))) for _ in range(5)), return_exceptions=True
    )
    assert sorted(isinstance(answer, ValueError) for answer in answers) == [False, True, True, True, True]
    assert await counters.read(["k"]) == {"k": 2}


@pytest.mark.parametrize(
    "reservation",
    [
        hold("a", window("k", 1), window("k", 1)),
        hold("a", window("k", -1)),
        hold("a", window("k" * 257, 1)),
        hold("", window("k", 1)),
        hold("a" * 65, window("k", 1)),
        hold("a", window("k\0", 1)),
        hold("a", window("k", 2**53 + 1)),
    ],
)
async def test_what_not_every_store_could_keep_is_refused(
    counters: Counters, reservation: Reservation
) -> None:
    with pytest.raises(ValueError):
        await counters.reserve(reservation)


async def test_settling_replaces_what_was_reserved_once(counters: Counters) -> None:
    await counters.reserve(hold("a", window("tokens", 100), window("requests", 1), gauge("open")))
    assert await counters.settle("a", {"tokens": 30, "open": 0, "stranger": 9})
    assert not await counters.settle("a", {"tokens": 0})
    assert not await counters.release("a")
    assert not await counters.settle("unknown", {"tokens": 5})
    assert await counters.read(["tokens", "requests", "open", "stranger"]) == {
        "tokens": 30,
        "requests": 1,
        "open": 0,
        "stranger": 0,
    }


async def test_what_is_counted_is_used_and_leaves_nothing_to_settle(counters: Counters) -> None:
    assert (await counters.count([window("a", 1, 2), window("b", 5)])).used == (1, 5)
    assert (await counters.count([window("a", 1, 2), window("c", 1)])).granted
    refused = await counters.count([window("b", 1), window("a", 1, 2)])
    assert refused.refused == (1,) and refused.used == (5, 2)
    assert await counters.read(["a", "b", "c"]) == {"a": 2, "b": 5, "c": 1}
    assert not await counters.release("") and await counters.reap(10**9) == []


async def test_what_is_counted_and_reserved_at_once_never_passes_the_limit(counters: Counters) -> None:
    counted = [counters.count([window("a", 1, 20)]) for _ in range(30)]
    reserved = [counters.reserve(hold(f"r{at}", window("a", 1, 20))) for at in range(30)]
    verdicts = await asyncio.gather(*(one for pair in zip(counted, reserved, strict=True) for one in pair))
    assert sum(verdict.granted for verdict in verdicts) == 20
    assert await counters.read(["a"]) == {"a": 20}


async def test_a_gauge_cannot_only_be_counted(counters: Counters) -> None:
    with pytest.raises(ValueError, match="gauge"):
        await counters.count([gauge("running")])


async def test_simultaneous_settles_count_once(counters: Counters) -> None:
    await counters.reserve(hold("a", window("tokens", 100)))
    answers = await asyncio.gather(*(counters.settle("a", {"tokens": 40}) for _ in range(20)))
    assert answers.count(True) == 1
    assert await counters.read(["tokens"]) == {"tokens": 40}


async def test_actual_use_may_exceed_the_limit(counters: Counters) -> None:
    await counters.reserve(hold("a", window("tokens", 10, 10)))
    await counters.settle("a", {"tokens": 25})
    verdict = await counters.reserve(hold("b", window("tokens", 1, 10)))
    assert (verdict.used, verdict.refused) == ((25,), (0,))


async def test_release_gives_everything_back(counters: Counters) -> None:
    await counters.reserve(hold("a", window("tokens", 100), gauge("open")))
    assert await counters.release("a")
    assert await counters.read(["tokens", "open"]) == {"tokens": 0, "open": 0}


async def test_large_amounts_stay_exact(counters: Counters) -> None:
    most = 2**53
    assert (await counters.reserve(hold("a", window("k", most - 2, most)))).used == (most - 2,)
    assert (await counters.reserve(hold("b", window("k", 1, most)))).used == (most - 1,)
    assert not (await counters.reserve(hold("c", window("k", 2, most)))).granted
    await counters.settle("b", {"k": 2})
    assert await counters.read(["k"]) == {"k": most}


async def test_nothing_claimed_is_still_a_reservation(counters: Counters) -> None:
    assert (await counters.reserve(hold("a"))).granted
    assert await counters.settle("a", {})
    assert not await counters.settle("a", {})


async def test_a_late_settle_touches_the_bucket_of_its_claim(counters: Counters, clock: ManualClock) -> None:
    await counters.reserve(hold("a", window("minute-1", 100)))
    clock.advance(61)
    await counters.reserve(hold("b", window("minute-2", 5, expires_in=120)))
    await counters.settle("a", {"minute-1": 30})
    assert await counters.read(["minute-1", "minute-2"]) == {"minute-1": 30, "minute-2": 5}


async def test_a_settle_does_not_bring_back_a_forgotten_bucket(
    counters: Counters, clock: ManualClock
) -> None:
    await counters.reserve(hold("a", window("minute-1", 100), gauge("open")))
    await counters.beat("w1", clock.now() + 1_000)
    clock.advance(300)
    await counters.reap(clock.now())
    before = (await counters.read(["minute-1"]))["minute-1"]
    assert await counters.settle("a", {"minute-1": 30, "open": 0})
    assert await counters.read(["minute-1", "open"]) == {"minute-1": before, "open": 0}


async def test_a_lease_that_ended_frees_its_reservations_once(counters: Counters, clock: ManualClock) -> None:
    claims = (window("tokens", 10, 100), gauge("open"))
    made = [hold(f"r{number}", *claims, owner="dead") for number in range(5)]
    for reservation in [*made, hold("living", *claims, owner="alive")]:
        await counters.reserve(reservation)
    await counters.beat("dead", clock.now() + 10)
    await counters.beat("alive", clock.now() + 20)
    assert await counters.reap(clock.now() + 9.9) == []
    reaped = await asyncio.gather(*(counters.reap(clock.now() + 10, limit=2) for _ in range(6)))
    assert sorted((found for some in reaped for found in some), key=lambda found: found.id) == made
    assert await counters.read(["tokens", "open"]) == {"tokens": 10, "open": 1}
    assert not await counters.settle("r0", {"tokens": 99})


async def test_an_owner_that_never_beat_has_a_minute(counters: Counters, clock: ManualClock) -> None:
    await counters.reserve(hold("early", gauge("open")))
    clock.advance(30)
    await counters.reserve(hold("late", gauge("open")))
    assert await counters.reap(clock.now() + 29.5) == []
    assert [found.id for found in await counters.reap(clock.now() + 30)] == ["early"]
    assert [found.id for found in await counters.reap(clock.now() + 60)] == ["late"]


async def test_a_worker_that_came_back_keeps_what_it_holds(counters: Counters, clock: ManualClock) -> None:
    await counters.beat("w1", clock.now() + 5)
    await counters.reserve(hold("a", gauge("open")))
    await counters.beat("w1", clock.now() + 100)
    assert await counters.reap(clock.now() + 50) == []


async def test_a_reap_forgets_owners_that_hold_nothing(counters: Counters, clock: ManualClock) -> None:
    await counters.beat("w1", clock.now() + 5)
    await counters.reap(clock.now() + 5)
    await counters.reserve(hold("a", gauge("open")))
    assert await counters.reap(clock.now() + 6) == []


async def test_exactly_the_limit_passes(counters: Counters) -> None:
    answers = await asyncio.gather(
        *(
            counters.reserve(hold(f"r{number}", window("requests", 1, 50), gauge("open")))
            for number in range(1_000)
        )
    )
    assert sum(answer.granted for answer in answers) == 50
    assert await counters.read(["requests", "open"]) == {"requests": 50, "open": 50}


async def test_a_gauge_returns_to_zero_after_a_crowd(counters: Counters) -> None:
    async def call(number: int) -> bool:
        granted = (await counters.reserve(hold(f"r{number}", gauge("open", 1, 10)))).granted
        return granted and await counters.release(f"r{number}")

    answers = await asyncio.gather(*(call(number) for number in range(300)))
    assert any(answers)
    assert await counters.read(["open"]) == {"open": 0}


async def test_a_cancelled_reserve_holds_nothing(counters: Counters) -> None:
    tasks = [asyncio.create_task(counters.reserve(hold(f"r{number}", gauge("open")))) for number in range(50)]
    for number, task in enumerate(tasks):
        await asyncio.sleep(0 if number % 7 else 0.001)
        task.cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    kept = sum(not isinstance(answer, BaseException) for answer in answers)

    async def balanced() -> bool:
        return await counters.read(["open"]) == {"open": kept}

    await eventually(balanced)


async def test_healthy(counters: Counters) -> None:
    assert await counters.healthy()


@pytest.mark.redis
async def test_buckets_leave_redis_by_themselves(valkey: Valkey) -> None:
    clock = SystemClock()
    counters = RedisCounters(valkey.url, clock=clock, prefix="{expiry}:")
    await counters.reserve(hold("a", Claim("k", 1, None, clock.now() - 59.5)))
    assert await counters.read(["k"]) == {"k": 1}
    await asyncio.sleep(0.7)
    assert await counters.read(["k"]) == {"k": 0}
    await counters.close()
