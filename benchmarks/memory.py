"""What recalling a session adds to a call: `python -m benchmarks.memory --json FILE`.

A session of 50 messages of 60 words. `known`: the worker answered its last turn; `unknown`: another one did,
and the history is read from the database, or from Redis; `whole turn`: recalling and saving. Beside it what a
bare read takes. PostgreSQL and Redis by `--postgres URL` and `--redis URL`, or with `--servers` both from the
wheels of the tests. All rows are measured in turn, round by round.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory

from sqlalchemy import text

from sentinella_plugins.kernel.call import Call, Json, Options, Outcome, Principal, Usage
from sentinella_plugins.kernel.catalogue import ModelCard
from sentinella_plugins.kernel.clock import SystemClock
from sentinella_plugins.kernel.events import Events
from sentinella_plugins.kernel.ids import new_id
from sentinella_plugins.kernel.money import Nano
from sentinella_plugins.memory.config import MemoryConfig
from sentinella_plugins.memory.service import MemoryService
from sentinella_plugins.storage import Database
from sentinella_plugins.storage.shared import SharedValues
from tests import servers

WORDS = "the quick brown fox jumps over the lazy dog again and " * 6
WARM = 50
Timing = dict[str, float]


class Counted:
    """Counts nothing dear: the history's tokens are kept with it."""

    def cards(self) -> Sequence[ModelCard]:
        return ()

    def find(self, name: str) -> ModelCard | None:
        return None

    async def count_prompt(self, model: str, body: Json) -> int:
        return 60

    def cost(self, model: str, usage: Usage) -> Nano:
        return Nano(0)


def call(session: str) -> Call:
    return Call(
        id=new_id("req"),
        route="/v1/chat/completions",
        model="auto",
        body={"messages": [{"role": "user", "content": WORDS}]},
        options=Options(session_id=session),
        principal=Principal(tenant="bench", key_id="key"),
        received_at=time.time(),
        started=time.perf_counter(),
    )


ANSWER: Json = {"choices": [{"index": 0, "message": {"role": "assistant", "content": WORDS}}]}


async def turn(service: MemoryService, session: str, status: str = "success") -> None:
    entered = await service.enter(call(session))
    await service.leave(entered, Outcome(status=status, body=ANSWER))  # type: ignore[arg-type]


async def timed(rounds: int, works: Mapping[str, Callable[[int], Awaitable[float]]]) -> dict[str, Timing]:
    """Each work gives its own seconds."""
    samples: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds + WARM):
        for name, work in works.items():
            took = await work(number)
            if number >= WARM:
                samples[name].append(took * 1000)
    return {name: timing(found) for name, found in samples.items()}


def timing(samples: Sequence[float]) -> Timing:
    cuts = quantiles(samples, n=100)
    return {"p50_ms": round(cuts[49], 3), "p99_ms": round(cuts[98], 3)}


async def measure(url: str, redis: str | None, rounds: int) -> dict[str, Timing]:
    clock = SystemClock()
    database = Database(url, clock=clock)
    await database.open()
    config = MemoryConfig(summary="off")
    values = SharedValues(redis, new_id("bench"), max_bytes=100_000_000, ttl_s=600) if redis else None

    def service(shared: SharedValues | None = None) -> MemoryService:
        return MemoryService(database, Counted(), Events(), clock, config, shared=shared)

    warm, warm_shared = service(), service(values)
    run = new_id("run")
    for _ in range(25):
        await turn(warm_shared, run)
    await warm_shared.close()

    async def recalled(room: MemoryService) -> float:
        begun = time.perf_counter()
        entered = await room.enter(call(run))
        took = time.perf_counter() - begun
        await room.leave(entered, Outcome(status="error"))
        return took

    async def whole(room: MemoryService, session: str) -> float:
        begun = time.perf_counter()
        await turn(room, session)
        took = time.perf_counter() - begun
        await room.close()
        return took

    async def bare(_: int) -> float:
        begun = time.perf_counter()
        await database.read(lambda connection: connection.scalar(text("SELECT 1")))
        return time.perf_counter() - begun

    async def bare_get(_: int) -> float:
        begun = time.perf_counter()
        assert values is not None  # noqa: S101
        await values.get("nothing")
        return time.perf_counter() - begun

    works: dict[str, Callable[[int], Awaitable[float]]] = {
        "bare read": bare,
        "known": lambda _: recalled(warm),
        "unknown": lambda _: recalled(service()),
        "whole turn": lambda number: whole(warm, f"{run}-{number // 25}"),
    }
    if values is not None:
        works |= {
            "bare read of Redis": bare_get,
            "unknown, Redis": lambda _: recalled(service(values)),
            "whole turn, Redis": lambda number: whole(warm_shared, f"{run}-{number // 25}-shared"),
        }
    try:
        return await timed(rounds, works)
    finally:
        if values is not None:
            await values.close()
        await database.close()


def main(arguments: Sequence[str] | None = None) -> int:
    parse = argparse.ArgumentParser("python -m benchmarks.memory", description=__doc__)
    parse.add_argument("--json", type=Path, help="write what the table shows")
    parse.add_argument("--rounds", type=int, default=500)
    parse.add_argument("--postgres", help="URL of a database to measure too")
    parse.add_argument("--redis", help="URL of a Redis to measure too")
    parse.add_argument("--servers", action="store_true", help="start PostgreSQL and Valkey and measure them")
    given = parse.parse_args(arguments)
    with ExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory())
        postgres, redis = given.postgres, given.redis
        if given.servers:
            postgres = stack.enter_context(servers.postgres()).new_database()
            redis = stack.enter_context(servers.valkey()).url
        urls = {"sqlite": f"sqlite:///{folder}/bench.db"} | ({"postgresql": postgres} if postgres else {})
        results = {name: asyncio.run(measure(url, redis, given.rounds)) for name, url in urls.items()}
    print(table(results))
    if given.json:
        dated = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "rounds": given.rounds}
        given.json.write_text(json.dumps({**dated, "results": results}, indent=2) + "\n")
    return 0


def table(results: dict[str, dict[str, Timing]]) -> str:
    lines = ["| database | what | p50 ms | p99 ms |", "|--|--|--:|--:|"]
    for name, rows in results.items():
        lines += [f"| {name} | {what} | {row['p50_ms']} | {row['p99_ms']} |" for what, row in rows.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
