"""What recalling a session adds to a call: `python -m benchmarks.memory --json FILE`.

A session of 50 messages of 60 words. `known`: the worker answered its last turn; `unknown`: it has not read
the session before; `whole turn`: recalling and saving. Beside it what a bare read of the database takes.
PostgreSQL by `--postgres URL`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
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

WORDS = "the quick brown fox jumps over the lazy dog again and " * 6
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


async def timed(rounds: int, work: Callable[[int], Awaitable[float]]) -> Timing:
    """`work` gives its own seconds."""
    samples = sorted([await work(number) * 1000 for number in range(rounds)])
    cuts = quantiles(samples, n=100)
    return {"p50_ms": round(cuts[49], 3), "p99_ms": round(cuts[98], 3)}


async def measure(url: str, rounds: int) -> dict[str, Timing]:
    clock = SystemClock()
    database = Database(url, clock=clock)
    await database.open()
    config = MemoryConfig(summary="off")

    def service() -> MemoryService:
        return MemoryService(database, Counted(), Events(), clock, config)

    warm = service()
    run = new_id("run")
    for _ in range(25):
        await turn(warm, run)

    async def recalled(room: MemoryService) -> float:
        begun = time.perf_counter()
        entered = await room.enter(call(run))
        took = time.perf_counter() - begun
        await room.leave(entered, Outcome(status="error"))
        return took

    async def whole(number: int) -> float:
        session = f"{run}-{number // 25}"
        begun = time.perf_counter()
        await turn(warm, session)
        return time.perf_counter() - begun

    async def bare(_: int) -> float:
        begun = time.perf_counter()
        await database.read(lambda connection: connection.scalar(text("SELECT 1")))
        return time.perf_counter() - begun

    try:
        return {
            "bare read": await timed(rounds, bare),
            "known": await timed(rounds, lambda _: recalled(warm)),
            "unknown": await timed(rounds, lambda _: recalled(service())),
            "whole turn": await timed(rounds, whole),
        }
    finally:
        await database.close()


def main(arguments: Sequence[str] | None = None) -> int:
    parse = argparse.ArgumentParser("python -m benchmarks.memory", description=__doc__)
    parse.add_argument("--json", type=Path, help="write what the table shows")
    parse.add_argument("--rounds", type=int, default=500)
    parse.add_argument("--postgres", help="URL of a database to measure too")
    given = parse.parse_args(arguments)
    with TemporaryDirectory() as folder:
        urls = {"sqlite": f"sqlite:///{folder}/bench.db"}
        if given.postgres:
            urls["postgresql"] = given.postgres
        results = {name: asyncio.run(measure(url, given.rounds)) for name, url in urls.items()}
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
