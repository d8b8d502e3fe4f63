"""Brings a database to the newest schema, under a lock: workers that start at once wait for one another."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text

from sentinella_plugins.storage.engine import file_lock

FOLDER = Path(__file__).parent / "migrations"
_ADVISORY_KEY = 7_236_837_469  # any number, the same for ever


def migrate(engine: Engine, lock: Path | None) -> None:
    with file_lock(lock), engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            connection.execute(text("SET LOCAL lock_timeout = 0"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_KEY})
        if _revision(connection) != newest():
            _upgrade(connection)


def newest() -> str:
    """The last revision: files are named after theirs."""
    return max(file.name for file in (FOLDER / "versions").glob("[0-9]*.py"))[:4]


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return found


def _upgrade(connection: Connection) -> None:
    # Alembic takes 10 MiB and a third of a second: only for the start that finds something to do.
    from alembic import command
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    command.upgrade(config, "head")
