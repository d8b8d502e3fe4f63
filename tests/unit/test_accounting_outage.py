from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from sentinella_plugins.accounting.config import AccountingConfig
from sentinella_plugins.accounting.models import CallQuery, LedgerLine, UsageQuery
from sentinella_plugins.accounting.service import AccountingService
from sentinella_plugins.kernel.clock import SystemClock
from sentinella_plugins.kernel.errors import Unavailable
from sentinella_plugins.kernel.money import Nano
from sentinella_plugins.storage.database import Database
from tests.servers import Postgres, postgres

EVER = CallQuery(since=0.0, until=4e9, limit=100_000)
QUICK = AccountingConfig(replay_interval_s=0.05)

WORKER = """
import asyncio, sys
from pathlib import Path
from sentinella_plugins.accounting.config import AccountingConfig
from sentinella_plugins.accounting.service import AccountingService
from sentinella_plugins.accounting.models import LedgerLine
from sentinella_plugins.kernel.clock import SystemClock
from sentinella_plugins.kernel.money import Nano
from sentinella_plugins.storage.database import Database

async def main(folder, opened):
    database = Database(f"sqlite:///{folder / 'db.sqlite'}", clock=SystemClock())
    if opened:
        await database.open()
    service = AccountingService(database, SystemClock(), AccountingConfig(), folder / "spool")
    async def client(number):
        for turn in range(1_000_000):
            name = f"req_{number}_{turn}"
            await service.record(LedgerLine(request_id=name, at=1.0, tenant="acme", key_id="k", route="r",
                requested_model="m", model="m", provider="p", status="success", cost=Nano(1)))
            sys.stdout.write(name + "\\n")
            sys.stdout.flush()
    await asyncio.gather(*map(client, range(16)))

asyncio.run(main(Path(sys.argv[1]), sys.argv[2] == "up"))
"""


def line(name: str) -> LedgerLine:
    return LedgerLine(
        request_id=name,
        at=1.0,
        tenant="acme",
        key_id="key_1",
        route="/v1/chat/completions",
        requested_model="auto",
        model="gpt-4o",
        provider="openai",
        status="success",
        cost=Nano(1),
        attempts=({"model": "gpt-4o", "error": "ünïcode\n"},),
    )


@asynccontextmanager
async def sqlite(folder: Path) -> AsyncIterator[Database]:
    database = Database(f"sqlite:///{folder / 'db.sqlite'}", clock=SystemClock())
    await database.open()
    yield database
    await database.close()


def service(database: Database, folder: Path, config: AccountingConfig = QUICK) -> AccountingService:
    return AccountingService(database, SystemClock(), config, folder / "spool")


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as running:
        yield running


def kill_in_the_middle(folder: Path, mode: str) -> set[str]:
    """The lines that were acknowledged before the kill."""
    command = [sys.executable, "-c", WORKER, str(folder), mode]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as worker:
        assert worker.stdout is not None
        head = [worker.stdout.readline() for _ in range(300)]
        os.kill(worker.pid, signal.SIGKILL)
        rest = worker.stdout.read().splitlines(keepends=True)
    return {name.decode().strip() for name in head + rest if name.endswith(b"\n")}


@pytest.mark.parametrize("mode", ["up", "down"])
def test_a_killed_worker_loses_no_acknowledged_line(tmp_path: Path, mode: str) -> None:
    async def kept() -> list[str]:
        async with sqlite(tmp_path) as database:
            books = service(database, tmp_path)
            await books.replay()
            assert list((tmp_path / "spool").glob("*.jsonl")) == []
            return [made.request_id for made in (await books.calls(EVER))[0]]

    asyncio.run(kept())
    acknowledged = kill_in_the_middle(tmp_path, mode)
    names = asyncio.run(kept())
    assert len(acknowledged) >= 300
    assert len(names) == len(set(names))
    assert acknowledged <= set(names)


def test_an_outage_of_the_database_is_bridged_on_disk(server: Postgres, tmp_path: Path) -> None:
    async def scenario() -> None:
        database = Database(server.new_database(), clock=SystemClock(), timeout_s=2.0)
        await database.open()
        spooled: list[int] = []
        books = AccountingService(database, SystemClock(), QUICK, tmp_path / "spool", on_spool=spooled.append)
        running = asyncio.create_task(books.run())
        await asyncio.gather(*(books.record(line(f"before_{number}")) for number in range(20)))
        await asyncio.to_thread(server.stop)
        await asyncio.gather(*(books.record(line(f"during_{number}")) for number in range(700)))
        assert spooled[-1] > 0
        started = time.monotonic()
        await books.record(line("quick"))
        assert time.monotonic() - started < 1.0, "calls must not wait for a database that is known to be down"
        await asyncio.to_thread(server.start)
        await until(lambda: spooled[-1] == 0)
        await books.record(line("after"))
        await books.record(line("during_3"))
        running.cancel()
        kept = [made.request_id for made in (await books.calls(EVER))[0]]
        assert len(kept) == len(set(kept)) == 722
        assert list((tmp_path / "spool").iterdir()) == []
        await books.close()
        await database.close()

    asyncio.run(scenario())


async def until(holds: Callable[[], bool]) -> None:
    for _ in range(1_000):
        if holds():
            return
        await asyncio.sleep(0.02)
    raise TimeoutError


def test_sums_and_days_are_the_same_on_postgresql(server: Postgres, tmp_path: Path) -> None:
    async def scenario() -> None:
        database = Database(server.new_database(), clock=SystemClock())
        await database.open()
        books = service(database, tmp_path)
        times = [86_399.999999, 86_400.0, 129_600.6]
        await asyncio.gather(*(books.record(replace(line(str(at)), at=at)) for at in times))
        await books.record(replace(line("lost"), at=9e5, status="abandoned", cost=Nano(0)))
        await books.record(replace(line("lost"), at=9e5, cost=Nano(2**53)))
        report = await books.usage(UsageQuery(since=0, until=1e9, group_by=("day", "tenant")))
        assert [(row.group["day"], row.sums.requests, row.sums.cost) for row in report.rows] == [
            ("1970-01-01", 1, 1),
            ("1970-01-02", 2, 2),
            ("1970-01-11", 1, 2**53),
        ]
        assert all(type(row.sums.cost) is int for row in report.rows)
        page, more = await books.calls(CallQuery(since=0, until=4e9, limit=2, after="lost"))
        assert ([made.at for made in page], more) == ([129_600.6, 86_400.0], True)
        assert await books.trim() == 4
        await database.close()

    asyncio.run(scenario())


def test_spooled_lines_survive_a_torn_end(tmp_path: Path) -> None:
    async def scenario() -> None:
        closed = Database(f"sqlite:///{tmp_path / 'db.sqlite'}", clock=SystemClock())
        dead = service(closed, tmp_path)
        await dead.record(line("whole"))
        await dead.close()
        [file] = (tmp_path / "spool").glob("*.jsonl")
        assert file.stat().st_mode & 0o777 == 0o600
        with file.open("ab") as torn:
            torn.write(b'{"request_id": "torn", "at"')
        async with sqlite(tmp_path) as database:
            books = service(database, tmp_path)
            await books.replay()
            assert (await books.calls(EVER))[0] == [line("whole")]
        assert list((tmp_path / "spool").iterdir()) == []

    asyncio.run(scenario())


def test_a_spool_in_use_is_left_alone_and_a_broken_one_kept_aside(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    used, broken = spool / "ledger-1-used.jsonl", spool / "ledger-2-broken.jsonl"
    used.write_text("")
    broken.write_text(json.dumps({"request_id": "x"}) + "\n")

    async def scenario() -> None:
        async with sqlite(tmp_path) as database:
            books = service(database, tmp_path)
            with used.open("ab") as owner:
                fcntl.flock(owner, fcntl.LOCK_EX)
                await books.replay()
            assert sorted(path.name for path in spool.iterdir()) == [
                "ledger-1-used.jsonl",
                "ledger-2-broken.rejected",
            ]
            await books.replay()
            assert [path.name for path in spool.iterdir()] == ["ledger-2-broken.rejected"]

    asyncio.run(scenario())


def test_two_adopters_replay_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        closed = Database(f"sqlite:///{tmp_path / 'db.sqlite'}", clock=SystemClock())
        for _ in range(3):
            dead = service(closed, tmp_path)
            await asyncio.gather(*(dead.record(line(f"req_{number}")) for number in range(50)))
            await dead.close()
        async with sqlite(tmp_path) as database:
            adopters = [service(database, tmp_path) for _ in range(4)]
            await asyncio.gather(*(adopter.replay() for adopter in adopters))
            assert len((await adopters[0].calls(EVER))[0]) == 50

    asyncio.run(scenario())
    with sqlite3.connect(tmp_path / "db.sqlite") as raw:
        assert raw.execute("SELECT count(*), sum(cost_nano) FROM ledger").fetchone() == (50, 50)
    raw.close()


def test_a_full_spool_says_so_and_the_line_is_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        closed = Database(f"sqlite:///{tmp_path / 'db.sqlite'}", clock=SystemClock())
        books = service(closed, tmp_path, AccountingConfig(spool_max_bytes=700))
        await books.record(line("fits"))
        with pytest.raises(Unavailable):
            await books.record(line("does_not"))
        async with sqlite(tmp_path) as database:
            heir = service(database, tmp_path)
            await books.close()
            await heir.replay()
            assert [made.request_id for made in (await heir.calls(EVER))[0]] == ["fits"]

    asyncio.run(scenario())
    assert "does_not" in caplog.text
