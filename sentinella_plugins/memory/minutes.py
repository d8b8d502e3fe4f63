"""What the maker of summaries reads and writes."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, select, update

from sentinella_plugins.memory.models import Head, Message
from sentinella_plugins.memory.rows import MESSAGE, head_of, message_of, mine
from sentinella_plugins.storage.database import Database
from sentinella_plugins.storage.tables import session_messages as kept
from sentinella_plugins.storage.tables import sessions


@dataclass(frozen=True, slots=True)
class Minute:
    """A summary of everything up to the message `covered`; `kind` is `model` or `extractive`."""

    text: str
    kind: str
    tokens: int
    covered: int


class MinuteStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, head: Head, now: float, until: float) -> Head | None:
        """The session as it is now, for the only one in all workers who may sum it up until then."""
        statement = (
            update(sessions)
            .where(mine(head.place), sessions.c.ref == head.ref, sessions.c.summarising_until <= now)
            .values(summarising_until=until)
            .returning(sessions)
        )

        def claim(connection: Connection) -> Head | None:
            row = connection.execute(statement).one_or_none()
            return None if row is None else head_of(row)

        return await self._database.write(claim)

    async def free(self, head: Head) -> None:
        statement = (
            update(sessions).where(mine(head.place), sessions.c.ref == head.ref).values(summarising_until=0.0)
        )
        await self._database.write(lambda connection: connection.execute(statement).close())

    async def oldest(self, head: Head, most: int) -> tuple[Message, ...]:
        """The oldest messages that no summary covers."""
        query = (
            select(*MESSAGE)
            .where(kept.c.ref == head.ref, kept.c.tenant == head.place.tenant, kept.c.seq > head.covered)
            .order_by(kept.c.seq)
            .limit(most)
        )
        return await self._database.read(
            lambda connection: tuple(message_of(row) for row in connection.execute(query))
        )

    async def write(self, head: Head, minute: Minute, until: float) -> Head | None:
        """Keeps the claim until then. `None` when somebody else was quicker, or the session is gone."""
        statement = (
            update(sessions)
            .where(mine(head.place), sessions.c.ref == head.ref, sessions.c.covered == head.covered)
            .values(
                version=sessions.c.version + 1,
                summary=minute.text,
                summary_kind=minute.kind,
                summary_tokens=minute.tokens,
                covered=minute.covered,
                summarising_until=until,
            )
            .returning(sessions)
        )

        def write(connection: Connection) -> Head | None:
            row = connection.execute(statement).one_or_none()
            return None if row is None else head_of(row)

        return await self._database.write(write)
