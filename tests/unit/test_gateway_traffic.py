"""Places for calls: bounded, fair between tenants, and emptied at the end."""

from __future__ import annotations

import asyncio

import pytest

from sentinella_plugins.gateway.traffic import Draining, Overloaded, Traffic
from sentinella_plugins.settings import TrafficConfig


def traffic(**limits: float) -> Traffic:
    return Traffic(TrafficConfig.model_validate({"max_running": 2, "max_waiting": 10, **limits}))


class Office:
    """Runs calls that end when told to, and remembers in which order they began."""

    def __init__(self, places: Traffic) -> None:
        self.places = places
        self.begun: list[str] = []
        self.end = asyncio.Semaphore(0)

    async def call(self, tenant: str) -> None:
        async with self.places.turn(tenant):
            self.begun.append(tenant)
            await self.end.acquire()

    async def send(self, *tenants: str) -> list[asyncio.Task[None]]:
        tasks = [asyncio.create_task(self.call(tenant)) for tenant in tenants]
        await asyncio.sleep(0.01)
        return tasks

    async def finish(self, number: int = 1) -> None:
        for _ in range(number):
            self.end.release()
            await asyncio.sleep(0.005)


@pytest.mark.asyncio
async def test_no_more_run_than_there_are_places() -> None:
    office = Office(traffic())
    tasks = await office.send("a", "a", "a", "a")
    assert office.begun == ["a", "a"]
    await office.finish()
    assert office.begun == ["a", "a", "a"]
    await office.finish(3)
    await asyncio.gather(*tasks)
    assert office.begun == ["a"] * 4


@pytest.mark.asyncio
async def test_a_tenant_with_many_calls_does_not_keep_another_waiting() -> None:
    office = Office(traffic())
    tasks = await office.send("a", "a", "a", "a", "a", "a", "b")
    await office.finish(2)
    assert "b" in office.begun[:4]
    await office.finish(8)
    await asyncio.gather(*tasks)


@pytest.mark.asyncio
async def test_beyond_the_queue_it_is_a_503_that_says_when_to_come_again() -> None:
    office = Office(traffic(max_waiting=1))
    tasks = await office.send("a", "a", "a")
    with pytest.raises(Overloaded) as refused:
        await office.call("b")
    assert refused.value.status == 503
    assert refused.value.headers() == {"retry-after": "1"}
    await office.finish(3)
    await asyncio.gather(*tasks)


@pytest.mark.asyncio
async def test_one_tenants_share_of_the_queue_is_bounded() -> None:
    office = Office(traffic(max_waiting_per_tenant=1))
    tasks = await office.send("a", "a", "a")
    with pytest.raises(Overloaded):
        await office.call("a")
    tasks += await office.send("b")
    await office.finish(4)
    await asyncio.gather(*tasks)
    assert office.begun.count("b") == 1


@pytest.mark.asyncio
async def test_who_waits_too_long_is_told_and_takes_no_place() -> None:
    office = Office(traffic(max_wait_s=0.02))
    tasks = await office.send("a", "a")
    with pytest.raises(Overloaded):
        await office.call("b")
    await office.finish(2)
    await asyncio.gather(*tasks)
    tasks = await office.send("c", "c")
    assert office.begun == ["a", "a", "c", "c"]
    await office.finish(2)
    await asyncio.gather(*tasks)


@pytest.mark.asyncio
async def test_no_place_is_lost_when_waiting_calls_are_cancelled() -> None:
    office = Office(traffic())
    tasks = await office.send(*("a" for _ in range(8)))
    for task in tasks[2:6]:
        task.cancel()
    office.end.release()
    tasks[6].cancel()
    await asyncio.sleep(0.02)
    await office.finish(8)
    await asyncio.gather(*tasks, return_exceptions=True)
    office = Office(office.places)
    tasks = await office.send("b", "b", "b")
    assert office.begun == ["b", "b"]
    await office.finish(3)
    await asyncio.gather(*tasks)


@pytest.mark.asyncio
async def test_draining_refuses_the_new_and_breaks_off_the_old_after_its_time() -> None:
    office = Office(traffic(drain_s=0.05))
    tasks = await office.send("a")
    office.places.drain()
    with pytest.raises(Draining):
        await office.call("b")
    assert not tasks[0].done()
    await asyncio.sleep(0.1)
    assert tasks[0].cancelled()
