"""The only package that knows SQL and Redis."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sentinella_plugins.kernel.clock import Clock
from sentinella_plugins.storage.config import StorageConfig
from sentinella_plugins.storage.counters_memory import MemoryCounters
from sentinella_plugins.storage.counters_redis import RedisCounters
from sentinella_plugins.storage.counters_sql import SqlCounters
from sentinella_plugins.storage.database import Database
from sentinella_plugins.storage.protocols import Claim, Counters, Reservation, Verdict


@dataclass(frozen=True, slots=True)
class Storage:
    """Both stores of a worker and their lifetime."""

    database: Database
    counters: Counters

    async def open(self) -> None:
        await self.database.open()
        await self.counters.open()

    async def close(self) -> None:
        await self.counters.close()
        await self.database.close()

    async def healthy(self) -> dict[str, str | None]:
        """For each part `None`, or why it is not healthy."""
        return {
            "database": None if await self.database.healthy() else "does not answer",
            "counters": None if await self.counters.healthy() else "do not answer",
        }


def open_storage(config: StorageConfig, data_dir: Path, clock: Clock) -> Storage:
    """Builds the parts; `storage.open` is the first to touch them. `SettingsError` for a wrong URL."""
    given = config.database_url and config.database_url.get_secret_value()
    database = Database(
        given or f"sqlite:///{data_dir / 'sentinella.db'}",
        pool_size=config.pool_size,
        timeout_s=config.timeout_s,
        queue_size=config.queue_size,
        clock=clock,
    )
    return Storage(database, _counters(config, database, clock))


def _counters(config: StorageConfig, database: Database, clock: Clock) -> Counters:
    if config.redis_url is None:
        return SqlCounters(database, clock)
    return RedisCounters(
        config.redis_url.get_secret_value(),
        pool_size=config.redis_pool_size,
        timeout_s=config.timeout_s,
        clock=clock,
    )


__all__ = [
    "Claim",
    "Counters",
    "Database",
    "MemoryCounters",
    "RedisCounters",
    "Reservation",
    "SqlCounters",
    "Storage",
    "StorageConfig",
    "Verdict",
    "open_storage",
]
