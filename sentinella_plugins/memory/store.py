"""Sessions in SQL, as a running turn needs them. One statement decides whose turn it is, one transaction
keeps a whole turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, and_, bindparam, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from sentinella_plugins.kernel.errors import Unavailable
from sentinella_plugins.memory.models import Head, Message, Place, Turn
from sentinella_plugins.memory.rows import MESSAGE, head_of, message_of, message_rows, mine, new_row
from sentinella_plugins.storage.database import Database
from sentinella_plugins.storage.tables import session_leases as leases
from sentinella_plugins.storage.tables import session_messages as kept
from sentinella_plugins.storage.tables import sessions


@dataclass(frozen=True, slots=True)
class Taken:
    granted: bool
    head: Head | None = None


@dataclass(frozen=True, slots=True)
class _Ask:
    place: Place
    holder: str
    now: float
    until: float


class SessionStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def take(self, place: Place, holder: str, now: float, until: float) -> Taken:
        """The session's turn until then, and the session as it is; not granted while another call has it."""
        return await self._database.write_grouped(_take, _Ask(place, holder, now, until))

    async def beat(self, held: Sequence[tuple[Place, str]], until: float) -> None:
        rows = [{**_names(place), "b_holder": holder, "until": until} for place, holder in held]
        if rows:
            await self._database.write(lambda connection: connection.execute(_BEAT, rows).close())

    def post_release(self, place: Place, holder: str) -> None:
        """After everything that waits to be written, without waiting for it."""
        with suppress(Unavailable):
            self._database.post_grouped(_release, (place, holder))

    async def tail(self, head: Head, most: int, tokens: int) -> tuple[Message, ...]:
        """The latest messages that no summary covers, oldest first: at most `most`, and no more than come
        before `tokens` are reached."""
        return await self._database.read(lambda connection: _tail(connection, head, most, tokens))

    async def save(self, turn: Turn) -> Head | None:
        """Keeps the turn and ends it, in one step; a turn that is kept already is not kept again. `None` when
        the session was deleted meanwhile."""
        return await self._database.write_grouped(_save, turn)

    async def shed(self, head: Head, messages: int, size: int) -> Head | None:
        """Deletes the oldest messages that the summary covers: so many, and of so many bytes at least."""
        return await self._database.write(lambda connection: _shed(connection, head, messages, size))

    async def count(self, tenant: str, most: int) -> int:
        """The sessions of a tenant, counted up to `most`."""
        first = select(sessions.c.ref).where(sessions.c.tenant == tenant).limit(most).subquery()
        query = select(func.count()).select_from(first)
        return await self._database.read(lambda connection: connection.scalar(query) or 0)


def _this_lease() -> ColumnElement[bool]:
    return and_(
        leases.c.tenant == bindparam("b_tenant"),
        leases.c.owner == bindparam("b_owner"),
        leases.c.id == bindparam("b_id"),
        leases.c.holder == bindparam("b_holder"),
    )


def _take_statement(build: Callable[..., Any]) -> Any:
    new = build(leases)
    return new.on_conflict_do_update(
        index_elements=["tenant", "owner", "id"],
        set_={"holder": new.excluded.holder, "until": new.excluded.until},
        where=leases.c.until <= bindparam("now"),
    ).returning(leases.c.holder)


def _begin_statement(build: Callable[..., Any]) -> Any:
    return build(sessions).on_conflict_do_nothing(index_elements=["tenant", "owner", "id"])


_TAKE = {"sqlite": _take_statement(sqlite.insert), "postgresql": _take_statement(postgresql.insert)}
_BEGIN = {"sqlite": _begin_statement(sqlite.insert), "postgresql": _begin_statement(postgresql.insert)}
_HEAD = select(sessions).where(
    sessions.c.tenant == bindparam("b_tenant"),
    sessions.c.owner == bindparam("b_owner"),
    sessions.c.id == bindparam("b_id"),
)
_LOCKED = _HEAD.with_for_update()
_BEAT = update(leases).where(_this_lease()).values(until=bindparam("until"))
_RELEASE = delete(leases).where(_this_lease())
_IS_KEPT = (
    select(kept.c.seq).where(kept.c.ref == bindparam("ref"), kept.c.turn == bindparam("by_call")).limit(1)
)
_GROW = (
    update(sessions)
    .where(sessions.c.tenant == bindparam("b_tenant"), sessions.c.ref == bindparam("b_ref"))
    .values(
        version=sessions.c.version + 1,
        turns=sessions.c.turns + 1,
        messages=sessions.c.messages + bindparam("added"),
        bytes=sessions.c.bytes + bindparam("size"),
        last_seq=sessions.c.last_seq + bindparam("added"),
        system=bindparam("said"),
        updated_at=bindparam("at"),
    )
    .returning(sessions)
)
_KEEP = insert(kept)
_TOKENS_AFTER = func.sum(kept.c.tokens).over(order_by=kept.c.seq.desc()) - kept.c.tokens
_LATEST = (
    select(*MESSAGE, _TOKENS_AFTER.label("tokens_after"))
    .where(
        kept.c.ref == bindparam("ref"),
        kept.c.tenant == bindparam("b_tenant"),
        kept.c.seq > bindparam("beyond"),
    )
    .subquery()
)
_TAIL = select(_LATEST).where(_LATEST.c.tokens_after < bindparam("b_tokens")).order_by(_LATEST.c.seq)


def _names(place: Place) -> dict[str, object]:
    return {"b_tenant": place.tenant, "b_owner": place.owner, "b_id": place.id}


def _order(place: Place) -> tuple[str, str, str]:
    return place.tenant, place.owner, place.id


def _take(connection: Connection, asks: Sequence[_Ask]) -> Sequence[Taken]:
    """In the order of their places, so that two workers never wait crosswise; answered in that of arrival."""
    taken = {ask.holder: _take_one(connection, ask) for ask in sorted(asks, key=lambda a: _order(a.place))}
    return [taken[ask.holder] for ask in asks]


def _take_one(connection: Connection, ask: _Ask) -> Taken:
    place = ask.place
    row = {
        "tenant": place.tenant,
        "owner": place.owner,
        "id": place.id,
        "holder": ask.holder,
        "until": ask.until,
    }
    statement = _TAKE[connection.dialect.name]
    if connection.execute(statement, {**row, "now": ask.now}).one_or_none() is None:
        return Taken(False)
    found = connection.execute(_HEAD, _names(place)).one_or_none()
    return Taken(True, None if found is None else head_of(found))


def _release(connection: Connection, held: Sequence[tuple[Place, str]]) -> Sequence[None]:
    rows = [{**_names(place), "b_holder": holder} for place, holder in held]
    connection.execute(_RELEASE, rows).close()
    return [None] * len(rows)


def _tail(connection: Connection, head: Head, most: int, tokens: int) -> tuple[Message, ...]:
    names = {
        "ref": head.ref,
        "b_tenant": head.place.tenant,
        "beyond": max(head.covered, head.last_seq - most),
        "b_tokens": tokens,
    }
    return tuple(message_of(row) for row in connection.execute(_TAIL, names))


def _save(connection: Connection, turns: Sequence[Turn]) -> Sequence[Head | None]:
    saved = {
        turn.call_id: _save_one(connection, turn) for turn in sorted(turns, key=lambda t: _order(t.place))
    }
    return [saved[turn.call_id] for turn in turns]


def _save_one(connection: Connection, turn: Turn) -> Head | None:
    place = turn.place
    if turn.ref is None:
        connection.execute(_BEGIN[connection.dialect.name], new_row(turn))
    row = connection.execute(_LOCKED, _names(place)).one_or_none()
    connection.execute(_RELEASE, {**_names(place), "b_holder": turn.call_id})
    if row is None or turn.ref not in (None, row.ref):
        return None
    if connection.execute(_IS_KEPT, {"ref": row.ref, "by_call": turn.call_id}).first() is not None:
        return head_of(row)
    system = row.system if turn.system is None else orjson.dumps(turn.system).decode()
    size = sum(entry.bytes for entry in turn.entries)
    names = {"b_tenant": place.tenant, "b_ref": row.ref, "added": len(turn.entries), "size": size}
    grown = connection.execute(_GROW, {**names, "said": system, "at": turn.at}).one()
    connection.execute(_KEEP, message_rows(turn, row.ref, row.last_seq))
    return head_of(grown)


def _shed(connection: Connection, head: Head, messages: int, size: int) -> Head | None:
    """The tenth part of the session at least, so that it is not done on every turn."""
    this = mine(head.place) & (sessions.c.ref == head.ref)
    row = connection.execute(select(sessions).where(this).with_for_update()).one_or_none()
    if row is None:
        return None
    oldest = (
        select(kept.c.seq, kept.c.bytes)
        .where(kept.c.ref == row.ref, kept.c.tenant == row.tenant, kept.c.seq <= row.covered)
        .order_by(kept.c.seq)
    )
    gone, freed, last = 0, 0, 0
    for seq, length in connection.execute(oldest):
        if gone >= max(messages, row.messages // 10) and freed >= size:
            break
        gone, freed, last = gone + 1, freed + length, seq
    connection.execute(delete(kept).where(kept.c.ref == row.ref, kept.c.seq <= last))
    changes = {"messages": row.messages - gone, "bytes": row.bytes - freed, "version": row.version + 1}
    return head_of(
        connection.execute(update(sessions).where(this).values(**changes).returning(sessions)).one()
    )
