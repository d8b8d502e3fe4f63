"""What `Database` promises on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from pydantic import SecretStr
from sqlalchemy import Connection, func, insert, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from sentinella_plugins.kernel.clock import ManualClock, SystemClock
from sentinella_plugins.kernel.errors import SettingsError, Unavailable
from sentinella_plugins.storage import Database, RedisCounters, SqlCounters, StorageConfig, open_storage
from sentinella_plugins.storage.engine import writer_engine
from sentinella_plugins.storage.migrate import FOLDER, migrate, newest
from sentinella_plugins.storage.tables import leases, metadata
from tests.contract.conftest import Place, database
from tests.servers import eventually

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def opened(sql_place: Place) -> AsyncIterator[Database]:
    async with database(sql_place.url, SystemClock()) as found:
        yield found


def put(connection: Connection, owner: str) -> int:
    connection.execute(insert(leases), {"owner": owner, "until": 1.0})
    return 1


def owners(connection: Connection) -> set[str]:
    return set(connection.scalars(select(leases.c.owner)))


async def test_the_migrations_lead_to_the_tables(opened: Database) -> None:
    def differences(connection: Connection) -> list[object]:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return list(compare_metadata(context, metadata))

    assert await opened.write(differences) == []


async def test_the_newest_revision_is_the_last_file() -> None:
    assert ScriptDirectory(str(FOLDER)).get_current_head() == newest()


_OPEN_AGAIN = """
import sys
from sqlalchemy import make_url
from sentinella_plugins.storage.engine import writer_engine
from sentinella_plugins.storage.migrate import migrate
migrate(writer_engine(make_url(sys.argv[1]), timeout_s=5.0), None)
print("alembic" in sys.modules)
"""


async def test_where_nothing_is_to_be_migrated_alembic_is_not_loaded(opened: Database) -> None:
    url = opened.url.render_as_string(hide_password=False)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _OPEN_AGAIN, url, stdout=asyncio.subprocess.PIPE
    )
    told, _ = await process.communicate()
    assert told.decode().strip() == "False"


async def test_a_database_of_a_later_version_is_not_opened(opened: Database) -> None:
    later = "UPDATE alembic_version SET version_num = '9999'"
    await opened.write(lambda connection: connection.execute(text(later)).close())
    engine = writer_engine(opened.url, timeout_s=5.0)
    with pytest.raises(CommandError, match="9999"):
        await asyncio.to_thread(migrate, engine, None)
    engine.dispose()


async def test_opening_again_keeps_what_is_there(sql_place: Place) -> None:
    for expected in (set(), {"a"}):
        async with database(sql_place.url, SystemClock()) as found:
            assert await found.read(owners) == expected
            if not expected:
                await found.write(lambda connection: put(connection, "a"))


async def test_a_write_is_there_when_it_returns(opened: Database) -> None:
    assert await opened.write(lambda connection: put(connection, "a")) == 1
    assert await opened.read(owners) == {"a"}


async def test_a_read_cannot_write(opened: Database) -> None:
    with pytest.raises((Unavailable, DBAPIError)):
        await opened.read(lambda connection: put(connection, "a"))
    assert await opened.read(owners) == set()


async def test_one_failure_touches_nobody_else(opened: Database) -> None:
    def fail(connection: Connection) -> None:
        put(connection, "half")
        raise LookupError("mine")

    async def one(number: int) -> None:
        await opened.write(fail if number == 20 else lambda connection: put(connection, f"w{number % 39}"))

    answers = await asyncio.gather(*(one(number) for number in range(40)), return_exceptions=True)
    failed = {number: type(answer) for number, answer in enumerate(answers) if answer is not None}
    assert failed == {20: LookupError, 39: IntegrityError}
    assert await opened.read(owners) == {f"w{number}" for number in range(39) if number != 20}


async def test_writes_that_wait_are_committed_together(opened: Database) -> None:
    gate = threading.Event()
    first = asyncio.create_task(opened.write(lambda _: gate.wait(5)))
    await asyncio.sleep(0.05)
    sizes: list[int] = []

    def handler(connection: Connection, items: Sequence[str]) -> Sequence[int | Exception]:
        sizes.append(len(items))
        return [ValueError(item) if item == "7" else int(item) for item in items]

    waiting = [asyncio.create_task(opened.write_grouped(handler, str(number))) for number in range(10)]
    await asyncio.sleep(0.05)
    gate.set()
    answers = await asyncio.gather(first, *waiting, return_exceptions=True)
    assert sizes == [10]
    assert [answer for answer in answers[1:] if isinstance(answer, int)] == [0, 1, 2, 3, 4, 5, 6, 8, 9]
    assert isinstance(answers[8], ValueError)


async def test_a_cancelled_write_disturbs_nobody(opened: Database) -> None:
    gate = threading.Event()
    running = asyncio.create_task(opened.write(lambda connection: (put(connection, "ran"), gate.wait(5))))
    await asyncio.sleep(0.05)
    waiting = asyncio.create_task(opened.write(lambda connection: put(connection, "dropped")))
    other = asyncio.create_task(opened.write(lambda connection: put(connection, "other")))
    await asyncio.sleep(0.05)
    running.cancel()
    waiting.cancel()
    gate.set()
    await other
    assert await opened.read(owners) == {"ran", "other"}


async def test_too_many_writes_are_refused(sql_place: Place) -> None:
    small = Database(sql_place.url, queue_size=10, clock=SystemClock())
    await small.open()
    gate = threading.Event()
    first = asyncio.create_task(small.write(lambda _: gate.wait(5)))
    await asyncio.sleep(0.05)
    tasks = [asyncio.create_task(small.write(lambda _: None)) for _ in range(15)]
    await asyncio.sleep(0.05)
    gate.set()
    answers = await asyncio.gather(*tasks, first, return_exceptions=True)
    assert sum(isinstance(answer, Unavailable) for answer in answers) == 5
    await small.close()


async def test_a_store_that_is_too_slow_is_unavailable(sql_place: Place) -> None:
    slow = Database(sql_place.url, timeout_s=0.2, clock=SystemClock())
    await slow.open()
    with pytest.raises(Unavailable):
        await slow.read(lambda _: time.sleep(0.4))
    with pytest.raises(Unavailable):
        await slow.write(lambda _: time.sleep(0.4))
    await slow.close()


async def test_closing_writes_what_waits_and_may_be_repeated(sql_place: Place) -> None:
    first = Database(sql_place.url, clock=SystemClock())
    await first.open()
    tasks = [asyncio.create_task(first.write(partial(put, owner=f"w{number}"))) for number in range(20)]
    await asyncio.sleep(0)
    await first.close()
    await asyncio.gather(*tasks)
    await first.close()
    with pytest.raises(Unavailable):
        await first.read(owners)
    with pytest.raises(Unavailable):
        await first.write(owners)
    assert not await first.healthy()
    async with database(sql_place.url, SystemClock()) as again:
        assert len(await again.read(owners)) == 20


async def test_two_workers_on_one_store_wait_for_each_other(sql_place: Place) -> None:
    async with (
        database(sql_place.url, SystemClock()) as left,
        database(sql_place.url, SystemClock()) as right,
    ):

        def count(connection: Connection) -> None:
            connection.execute(text("UPDATE leases SET until = until + 1 WHERE owner = 'a'"))

        await left.write(lambda connection: put(connection, "a"))
        await asyncio.gather(*(side.write(count) for _ in range(100) for side in (left, right)))
        assert (
            await right.read(lambda connection: connection.scalar(select(func.max(leases.c.until)))) == 201.0
        )


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///:memory:", "mysql://u:secret@host/x", "nonsense:secret"]
)
async def test_a_wrong_url_is_named_without_its_secrets(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Database(url, clock=SystemClock())
    assert "secret" not in str(caught.value)


async def test_a_database_that_is_not_there_is_unavailable() -> None:
    absent = Database("postgresql://user:hidden@127.0.0.1:1/x", timeout_s=1, clock=SystemClock())
    with pytest.raises(Unavailable) as caught:
        await absent.open()
    assert "hidden" not in str(caught.value)
    assert not await absent.healthy()
    await absent.close()


async def test_the_default_storage_is_one_sqlite_file(tmp_path: Path) -> None:
    storage = open_storage(StorageConfig(), tmp_path / "data", ManualClock())
    assert isinstance(storage.counters, SqlCounters)
    await storage.open()
    assert await storage.healthy() == {"database": None, "counters": None}
    assert (tmp_path / "data" / "sentinella.db").exists()
    await storage.close()
    assert await storage.healthy() == {"database": "does not answer", "counters": "do not answer"}


async def test_a_redis_url_moves_the_counters(tmp_path: Path) -> None:
    config = StorageConfig(redis_url=SecretStr("redis://127.0.0.1:1/0"), timeout_s=0.5)
    storage = open_storage(config, tmp_path, ManualClock())
    assert isinstance(storage.counters, RedisCounters)
    await storage.open()
    assert await storage.healthy() == {"database": None, "counters": "do not answer"}
    await storage.close()
    with pytest.raises(SettingsError):
        open_storage(StorageConfig(redis_url=SecretStr("http://127.0.0.1")), tmp_path, ManualClock())


async def test_a_file_that_a_stranger_locks_is_unavailable_until_it_is_free(tmp_path: Path) -> None:
    file = tmp_path / "sentinella.db"
    opened = Database(f"sqlite:///{file}", timeout_s=0.3, clock=SystemClock())
    await opened.open()
    with closing(sqlite3.connect(file, isolation_level=None)) as stranger:
        stranger.execute("BEGIN IMMEDIATE")
        answers = await asyncio.gather(
            *(opened.write(partial(put, owner=f"w{number}")) for number in range(5)),
            return_exceptions=True,
        )
        assert [type(answer) for answer in answers] == [Unavailable] * 5
        assert await opened.read(owners) == set()
        stranger.execute("ROLLBACK")

    async def written() -> bool:
        with suppress(Unavailable):
            return await opened.write(lambda connection: put(connection, "after")) == 1
        return False

    await eventually(written)
    await opened.close()


async def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    opened = Database(f"sqlite:///{tmp_path}/file/sentinella.db", clock=SystemClock())
    with pytest.raises(Unavailable, match="data directory"):
        await opened.open()
    await opened.close()
