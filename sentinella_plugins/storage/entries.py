"""The store of kept answers that the settings name."""

from __future__ import annotations

from sentinella_plugins.kernel.clock import Clock
from sentinella_plugins.storage.config import StorageConfig
from sentinella_plugins.storage.database import Database
from sentinella_plugins.storage.entries_protocol import Change, Entries, Entry, Match, News, Size
from sentinella_plugins.storage.entries_redis import RedisEntries
from sentinella_plugins.storage.entries_sql import SqlEntries


def open_entries(config: StorageConfig, database: Database, clock: Clock, *, log_size: int) -> Entries:
    """Redis where it is given, else the SQL database; `open` is the first to touch it. `log_size` is how many
    changes a worker that follows may miss before it must read everything anew."""
    if config.redis_url is None:
        return SqlEntries(database, clock, log_size=log_size)
    return RedisEntries(
        config.redis_url.get_secret_value(),
        pool_size=config.redis_pool_size,
        timeout_s=config.timeout_s,
        clock=clock,
        log_size=log_size,
    )


__all__ = ["Change", "Entries", "Entry", "Match", "News", "Size", "open_entries"]
