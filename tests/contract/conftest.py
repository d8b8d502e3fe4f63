"""The same stores for every contract: memory, SQLite, PostgreSQL, Redis."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from sentinella_plugins.kernel.clock import Clock
from sentinella_plugins.storage import Counters, Database, MemoryCounters, RedisCounters, SqlCounters
from tests import servers

SQL = ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]
BACKENDS = ["memory", *SQL, pytest.param("redis", marks=pytest.mark.redis)]
_numbers = itertools.count()


@pytest.fixture(scope="session")
def valkey() -> Iterator[servers.Valkey]:
    with servers.valkey() as server:
        yield server


@pytest.fixture(scope="session")
def postgres() -> Iterator[servers.Postgres]:
    with servers.postgres() as server:
        yield server


@dataclass(frozen=True)
class Place:
    """An empty store of one kind; `counters` opens it, as often as wanted and at the same time."""

    backend: str
    url: str
    prefix: str

    @asynccontextmanager
    async def counters(self, clock: Clock) -> AsyncIterator[Counters]:
        if self.backend == "memory":
            yield MemoryCounters(clock)
        elif self.backend == "redis":
            shared = RedisCounters(self.url, clock=clock, prefix=self.prefix)
            await shared.open()
            yield shared
            await shared.close()
        else:
            async with database(self.url, clock) as opened:
                yield SqlCounters(opened, clock)


@asynccontextmanager
async def database(url: str, clock: Clock) -> AsyncIterator[Database]:
    opened = Database(url, clock=clock)
    await opened.open()
    try:
        yield opened
    finally:
        await opened.close()


@pytest.fixture
def place_of(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], Place]:
    def place(backend: str) -> Place:
        number = next(_numbers)
        urls: dict[str, Callable[[], str]] = {
            "memory": lambda: "",
            "sqlite": lambda: f"sqlite:///{tmp_path}/{number}/sentinella.db",
            "postgres": lambda: request.getfixturevalue("postgres").new_database(),
            "redis": lambda: request.getfixturevalue("valkey").url,
        }
        return Place(backend, urls[backend](), f"{{test-{number}}}:")

    return place


@pytest.fixture(params=BACKENDS)
def place(request: pytest.FixtureRequest, place_of: Callable[[str], Place]) -> Place:
    return place_of(request.param)


@pytest.fixture(params=SQL)
def sql_place(request: pytest.FixtureRequest, place_of: Callable[[str], Place]) -> Place:
    return place_of(request.param)
