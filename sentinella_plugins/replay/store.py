"""Keys and their answers in SQL. One statement decides who runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, and_, bindparam, delete, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite

from sentinella_plugins.kernel.errors import Unavailable
from sentinella_plugins.replay.models import Busy, Claim, Found, Fresh, KeyReused, Replayed
from sentinella_plugins.storage.database import Database
from sentinella_plugins.storage.tables import replays

RUNNING, DONE = "running", "done"


@dataclass(frozen=True, slots=True)
class _Ask:
    claim: Claim
    now: float
    until: float


@dataclass(frozen=True, slots=True)
class _End:
    """Without an answer the key is free again."""

    claim: Claim
    answer: str | None = None
    model: str = ""
    until: float = 0.0


class ReplayStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def take(self, claim: Claim, now: float, until: float) -> Found:
        """`Fresh` when the key is this call's until then. Raises `KeyReused`."""
        return await self._database.write_grouped(_take, _Ask(claim, now, until))

    async def peek(self, claim: Claim, now: float) -> Found | None:
        """`None` when the key is free. Raises `KeyReused`."""
        return await self._database.read(lambda connection: _look(connection, claim, now))

    async def keep(self, claim: Claim, answer: str, model: str, until: float) -> bool:
        """Whether the key still was this call's."""
        return await self._database.write_grouped(_end, _End(claim, answer, model, until))

    async def release(self, claim: Claim) -> bool:
        return await self._database.write_grouped(_end, _End(claim))

    def post_release(self, claim: Claim) -> None:
        """After everything that waits to be written, without waiting for it."""
        with suppress(Unavailable):
            self._database.post_grouped(_end, _End(claim))

    async def beat(self, claims: Sequence[Claim], until: float) -> None:
        rows = [{**_names(claim), "until": until} for claim in claims]
        if rows:
            await self._database.write(lambda connection: connection.execute(_BEAT, rows).close())

    async def trim(self, now: float, limit: int) -> int:
        """Deletes at most `limit` entries whose time is over; how many it were."""
        over = replays.c.expires_at <= now
        place = tuple_(replays.c.tenant, replays.c.key)
        oldest = (
            select(replays.c.tenant, replays.c.key).where(over).order_by(replays.c.expires_at).limit(limit)
        )
        # The condition stands twice: a key that is taken meanwhile is not over any more.
        statement = delete(replays).where(place.in_(oldest), over)
        return await self._database.write(lambda connection: connection.execute(statement).rowcount)


def _mine() -> ColumnElement[bool]:
    return and_(
        replays.c.tenant == bindparam("b_tenant"),
        replays.c.key == bindparam("b_key"),
        replays.c.owner == bindparam("b_owner"),
        replays.c.state == RUNNING,
    )


def _insert(build: Callable[..., Any]) -> Any:
    insert = build(replays)
    changes = {name: insert.excluded[name] for name, _ in replays.c.items() if name not in ("tenant", "key")}
    return insert.on_conflict_do_update(
        index_elements=["tenant", "key"],
        set_=changes,
        where=replays.c.expires_at <= insert.excluded.created_at,
    ).returning(replays.c.owner)


_TAKE = {"sqlite": _insert(sqlite.insert), "postgresql": _insert(postgresql.insert)}
_LOOK = select(replays.c.fingerprint, replays.c.state, replays.c.answer).where(
    replays.c.tenant == bindparam("b_tenant"),
    replays.c.key == bindparam("b_key"),
    replays.c.expires_at > bindparam("now"),
)
_BEAT = update(replays).where(_mine()).values(expires_at=bindparam("until"))
_KEEP = (
    update(replays)
    .where(_mine())
    .values(state=DONE, answer=bindparam("text"), model=bindparam("by"), expires_at=bindparam("until"))
)
_RELEASE = delete(replays).where(_mine())


def _names(claim: Claim) -> dict[str, object]:
    return {"b_tenant": claim.tenant, "b_key": claim.key, "b_owner": claim.owner}


def _take(connection: Connection, asks: Sequence[_Ask]) -> Sequence[Found | Exception]:
    """In the order of their places, so that two workers never wait crosswise; answered in that of arrival."""
    found = {ask.claim.owner: _take_one(connection, ask) for ask in sorted(asks, key=lambda a: a.claim.place)}
    return [found[ask.claim.owner] for ask in asks]


def _take_one(connection: Connection, ask: _Ask) -> Found | Exception:
    claim = ask.claim
    row = {
        "tenant": claim.tenant,
        "key": claim.key,
        "fingerprint": claim.fingerprint,
        "state": RUNNING,
        "owner": claim.owner,
        "answer": None,
        "model": "",
        "created_at": ask.now,
        "expires_at": ask.until,
    }
    if connection.scalar(_TAKE[connection.dialect.name], row) is not None:
        return Fresh(claim)
    try:
        return _look(connection, claim, ask.now) or Busy()
    except KeyReused as error:
        return error


def _look(connection: Connection, claim: Claim, now: float) -> Found | None:
    names = {"b_tenant": claim.tenant, "b_key": claim.key, "now": now}
    row = connection.execute(_LOOK, names).one_or_none()
    if row is None:
        return None
    if row.fingerprint != claim.fingerprint:
        raise KeyReused
    return Replayed(orjson.loads(row.answer)) if row.state == DONE else Busy()


def _end(connection: Connection, ends: Sequence[_End]) -> Sequence[bool]:
    return [_end_one(connection, end) for end in ends]


def _end_one(connection: Connection, end: _End) -> bool:
    names = _names(end.claim)
    if end.answer is None:
        return connection.execute(_RELEASE, names).rowcount == 1
    names |= {"text": end.answer, "by": end.model, "until": end.until}
    return connection.execute(_KEEP, names).rowcount == 1
