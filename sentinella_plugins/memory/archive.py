"""Sessions as their owners see them: listed, read page by page, deleted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Select, and_, delete, exists, select, true, tuple_

from sentinella_plugins.memory.models import Head, Message
from sentinella_plugins.memory.rows import MESSAGE, head_of, message_of
from sentinella_plugins.storage.database import Database
from sentinella_plugins.storage.tables import session_facts as facts
from sentinella_plugins.storage.tables import session_leases as leases
from sentinella_plugins.storage.tables import session_messages as kept
from sentinella_plugins.storage.tables import sessions

_BATCH = 100


@dataclass(frozen=True, slots=True)
class Shelf:
    """Whose sessions: `owner` is `None` for all of a tenant."""

    tenant: str
    owner: str | None = None

    def condition(self) -> ColumnElement[bool]:
        of_owner = true() if self.owner is None else sessions.c.owner == self.owner
        return and_(sessions.c.tenant == self.tenant, of_owner)


class Archive:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, shelf: Shelf, session_id: str) -> Head | None:
        query = (
            select(sessions)
            .where(shelf.condition(), sessions.c.id == session_id)
            .order_by(sessions.c.updated_at.desc())
            .limit(1)
        )

        def find(connection: Connection) -> Head | None:
            row = connection.execute(query).one_or_none()
            return None if row is None else head_of(row)

        return await self._database.read(find)

    async def page(self, shelf: Shelf, limit: int, after: str | None) -> Sequence[Head]:
        """Newest first. `after` is the `ref` of the last one seen."""
        query = select(sessions).where(shelf.condition()).order_by(sessions.c.ref.desc()).limit(limit)
        if after is not None:
            query = query.where(sessions.c.ref < after)
        return await self._database.read(
            lambda connection: [head_of(row) for row in connection.execute(query)]
        )

    async def messages(
        self, head: Head, limit: int, after: int | None, *, newest_first: bool = False
    ) -> Sequence[Message]:
        query = (
            select(*MESSAGE).where(kept.c.ref == head.ref, kept.c.tenant == head.place.tenant).limit(limit)
        )
        query = query.order_by(kept.c.seq.desc() if newest_first else kept.c.seq)
        if after is not None:
            query = query.where(kept.c.seq < after if newest_first else kept.c.seq > after)
        return await self._database.read(
            lambda connection: [message_of(row) for row in connection.execute(query)]
        )

    async def delete(self, head: Head) -> None:
        await self._database.write(lambda connection: _delete(connection, [head.ref]))

    async def delete_some(self, shelf: Shelf) -> Sequence[str]:
        """At most a hundred; which `ref`s it were."""
        oldest = select(sessions.c.ref).where(shelf.condition()).order_by(sessions.c.ref).limit(_BATCH)
        return await self._database.write(
            lambda connection: _delete(connection, list(connection.scalars(oldest)))
        )

    async def trim(self, now: float, before: float | None, limit: int) -> int:
        """Deletes sessions without a turn since `before`, unless one runs, and leases that are long over; how
        many sessions it were."""

        def trim(connection: Connection) -> int:
            connection.execute(delete(leases).where(leases.c.until <= now))
            if before is None:
                return 0
            return len(_delete(connection, list(connection.scalars(_old(before, now, limit)))))

        return await self._database.write(trim)


def _old(before: float, now: float, limit: int) -> Select[tuple[str]]:
    place = tuple_(leases.c.tenant, leases.c.owner, leases.c.id)
    this = tuple_(sessions.c.tenant, sessions.c.owner, sessions.c.id)
    running = exists().where(place == this, leases.c.until > now)
    old = sessions.c.updated_at <= before
    return select(sessions.c.ref).where(old, ~running).order_by(sessions.c.updated_at).limit(limit)


def _delete(connection: Connection, refs: Sequence[str]) -> Sequence[str]:
    if refs:
        for table in (kept, facts, sessions):
            connection.execute(delete(table).where(table.c.ref.in_(refs)))
    return refs
