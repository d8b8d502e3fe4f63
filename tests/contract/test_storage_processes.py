"""Several worker processes on one store. This file is also the program of the workers."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sentinella_plugins.kernel.clock import SystemClock
from sentinella_plugins.storage import Claim, Counters, Reservation
from tests.contract.conftest import SQL, Place, database

ROOT = Path(__file__).parents[2]
SHARED = [*SQL, pytest.param("redis", marks=pytest.mark.redis)]
END = 4_000_000_000.0


@pytest.fixture(params=SHARED)
def shared(request: pytest.FixtureRequest, place_of: Callable[[str], Place]) -> Place:
    return place_of(request.param)


def worker(task: str, place: Place, name: str) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, task, place.backend, place.url, place.prefix, name]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )


def four(task: str, place: Place) -> list[str]:
    """What four workers say that start at the same moment."""
    workers = [worker(task, place, f"w{number}") for number in range(4)]
    ready = [line(process) for process in workers]
    assert ready == ["ready"] * 4
    for process in workers:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=60)[0].strip() for process in workers]
    assert [process.returncode for process in workers] == [0] * 4
    return answers


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_migrations_run_once(sql_place: Place) -> None:
    assert four("migrate", sql_place) == ["True"] * 4


def test_exactly_the_limit_passes_over_all_workers(shared: Place) -> None:
    granted = [int(answer) for answer in four("reserve", shared)]
    assert sum(granted) == 50


def test_gauges_of_all_workers_return_to_zero(shared: Place) -> None:
    assert four("calls", shared) == ["200"] * 4

    async def used() -> int:
        async with shared.counters(SystemClock()) as counters:
            return (await counters.read(["open"]))["open"]

    assert asyncio.run(used()) == 0


def test_what_a_killed_worker_held_is_freed(shared: Place) -> None:
    process = worker("die", shared, "victim")
    assert line(process) == "ready"
    process.stdin.write("go\n")  # type: ignore[union-attr]
    process.stdin.flush()  # type: ignore[union-attr]
    assert line(process) == "holding"
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert asyncio.run(reaped(shared)) == [f"victim-{number}" for number in range(200)]


async def reaped(place: Place) -> list[str]:
    async with place.counters(SystemClock()) as counters:
        assert await counters.read(["open", "tokens"]) == {"open": 200, "tokens": 2_000}
        found = list(await counters.reap(time.time()))
        assert found == []
        await asyncio.sleep(1.1)
        for _ in range(4):
            found += await counters.reap(time.time())
        assert await counters.read(["open", "tokens"]) == {"open": 0, "tokens": 0}
    return sorted((held.id for held in found), key=lambda name: int(name.split("-")[1]))


def hold(name: str, number: int, limit: int | None) -> Reservation:
    claims = (Claim("requests", 1, limit, END), Claim("tokens", 10, None, END), Claim("open", 1, None, None))
    return Reservation(f"{name}-{number}", name, claims)


async def reserve(counters: Counters, name: str) -> int:
    answers = await asyncio.gather(*(counters.reserve(hold(name, number, 50)) for number in range(250)))
    return sum(answer.granted for answer in answers)


async def calls(counters: Counters, name: str) -> int:
    async def call(number: int) -> bool:
        await counters.reserve(hold(name, number, None))
        return await counters.settle(f"{name}-{number}", {"tokens": 3, "open": 0})

    return sum(await asyncio.gather(*(call(number) for number in range(200))))


async def die(counters: Counters, name: str) -> None:
    await asyncio.gather(*(counters.reserve(hold(name, number, None)) for number in range(200)))
    await counters.beat(name, time.time() + 1)
    print("holding", flush=True)
    await asyncio.sleep(60)


async def work(task: str, place: Place, name: str) -> object:
    if task == "migrate":
        ready()
        async with database(place.url, SystemClock()) as opened:
            return await opened.healthy()
    async with place.counters(SystemClock()) as counters:
        ready()
        return await {"reserve": reserve, "calls": calls, "die": die}[task](counters, name)


def ready() -> None:
    print("ready", flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    print(asyncio.run(work(sys.argv[1], Place(*sys.argv[2:5]), sys.argv[5])))
