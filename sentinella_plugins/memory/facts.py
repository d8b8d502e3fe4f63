"""What users said, with its vectors, in SQL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import Connection, delete, exists, insert, select

from sentinella_plugins.memory.models import Head
from sentinella_plugins.storage.database import Database
from sentinella_plugins.storage.tables import session_facts as facts
from sentinella_plugins.storage.tables import sessions
from sentinella_plugins.vectors.models import Vector

_FLOATS = np.dtype("<f4")


@dataclass(frozen=True, slots=True)
class Person:
    """A tenant's user, by SHA-256."""

    tenant: str
    id: str


class FactStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def keep(
        self, head: Head, person: Person, said: tuple[int, str], vector: Vector, encoder: str, most: int
    ) -> None:
        """`said` is the number of the message and its text. Of each person the latest `most` are kept."""
        seq, text = said
        row = {
            "ref": head.ref,
            "seq": seq,
            "tenant": person.tenant,
            "person": person.id,
            "text": text,
            "vector": vector.astype(_FLOATS).tobytes(),
            "encoder": encoder,
            "at": head.updated_at,
        }

        def keep(connection: Connection) -> None:
            known = exists().where(facts.c.ref == head.ref, facts.c.seq == seq)
            alive = select(sessions.c.ref).where(
                sessions.c.tenant == person.tenant, sessions.c.ref == head.ref
            )
            if connection.execute(alive.where(~known)).first() is not None:
                connection.execute(insert(facts), row)
                _forget_oldest(connection, person, most)

        await self._database.write(keep)

    async def nearest(
        self, person: Person, vector: Vector, encoder: str, *, but: str | None, most: int, limit: int
    ) -> Sequence[tuple[float, str]]:
        """(cosine similarity, text) of the nearest, of other sessions than `but`, among the latest `most`."""
        query = (
            select(facts.c.text, facts.c.vector)
            .where(facts.c.tenant == person.tenant, facts.c.person == person.id, facts.c.encoder == encoder)
            .where(facts.c.ref != (but or ""))
            .order_by(facts.c.at.desc(), facts.c.seq.desc())
            .limit(most)
        )

        def search(connection: Connection) -> list[tuple[float, str]]:
            rows = connection.execute(query).all()
            if not rows:
                return []
            matrix = np.frombuffer(b"".join(held for _, held in rows), _FLOATS).reshape(len(rows), -1)
            scores = matrix @ vector
            return [(float(scores[at]), rows[at][0]) for at in np.argsort(-scores, kind="stable")[:limit]]

        return await self._database.read(search)


def _forget_oldest(connection: Connection, person: Person, most: int) -> None:
    of_person = (facts.c.tenant == person.tenant, facts.c.person == person.id)
    newest_over = (
        select(facts.c.at)
        .where(*of_person)
        .order_by(facts.c.at.desc())
        .offset(most)
        .limit(1)
        .scalar_subquery()
    )
    connection.execute(delete(facts).where(*of_person, facts.c.at <= newest_over))
