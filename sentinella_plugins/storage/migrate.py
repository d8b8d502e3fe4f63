"""Brings a database to the newest schema, under a lock: workers that start at once wait for one another."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, text

from sentinella_plugins.storage.engine import file_lock

FOLDER = Path(__file__).parent / "migrations"
_ADVISORY_KEY = 7_236_837_469  # any number, the same for ever


def migrate(engine: Engine, lock: Path | None) -> None:
    config = Config(attributes={})
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    with file_lock(lock), engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            connection.execute(text("SET LOCAL lock_timeout = 0"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_KEY})
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
