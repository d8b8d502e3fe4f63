"""What workers tell each other about their breakers, in the database: the latest word on each model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite

from sentinella_plugins.fallback.models import Notice
from sentinella_plugins.storage.database import Database
from sentinella_plugins.storage.tables import breakers


class BreakerStore:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._upsert = _upsert(database.dialect)

    async def put(self, notices: Sequence[Notice]) -> None:
        """A newer word of another worker stays."""
        rows = [
            {
                "model": notice.model,
                "state": notice.state,
                "until": notice.until,
                "reason": notice.reason,
                "updated_at": notice.updated_at,
                "owner": notice.owner,
            }
            for notice in notices
        ]
        await self._database.write(lambda connection: connection.execute(self._upsert, rows).close())

    async def others(self, owner: str) -> list[Notice]:
        query = select(breakers).where(breakers.c.owner != owner)
        return await self._database.read(
            lambda connection: [Notice(**row) for row in connection.execute(query).mappings()]
        )


def _upsert(dialect: str) -> Any:
    build: Callable[..., Any] = postgresql.insert if dialect == "postgresql" else sqlite.insert
    insert = build(breakers)
    changes = {name: insert.excluded[name] for name, _ in breakers.c.items() if name != "model"}
    newer = insert.excluded.updated_at >= breakers.c.updated_at
    return insert.on_conflict_do_update(index_elements=["model"], set_=changes, where=newer)
