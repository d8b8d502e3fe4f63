"""Kept answers in the SQL database."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import (
    Connection,
    Row,
    Select,
    bindparam,
    delete,
    func,
    insert,
    literal,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from sentinella_plugins.kernel.clock import Clock
from sentinella_plugins.storage.database import Database
from sentinella_plugins.storage.entries_protocol import Change, Entry, Match, News, Size
from sentinella_plugins.storage.tables import cache_entries as table
from sentinella_plugins.storage.tables import cache_log as log

_CHUNK = 400
"""Ids in one statement: SQLite bounds how many parameters it takes."""

_LOG_LOCK = 7_236_837_470  # any number, the same for ever
_OUTLINE = [column for column in table.c if column.name not in ("body", "last_used_at")]


class SqlEntries:
    """It lives on a `Database` that somebody else opens and closes."""

    def __init__(self, database: Database, clock: Clock, *, log_size: int = 100_000) -> None:
        self._database = database
        self._clock = clock
        self._log_size = log_size

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def put(self, entries: Sequence[Entry]) -> None:
        rows = [_row(entry) for entry in sorted(entries, key=lambda entry: (entry.tenant, entry.id))]
        if not rows:
            return

        def write(connection: Connection) -> None:
            connection.execute(_PUT[connection.dialect.name], rows)
            self._tell(connection, "put", [(row["tenant"], row["id"], row["scope"]) for row in rows])

        await self._database.write(write)

    async def get(self, tenant: str, entry_id: str) -> Entry | None:
        place = _names((tenant, entry_id))
        return await self._database.read(lambda connection: _first(connection, place))

    async def outlines(self, tenant: str, ids: Sequence[str]) -> Sequence[Entry]:
        def read(connection: Connection) -> list[Entry]:
            return [
                entry
                for some in _chunks(ids)
                for entry in _all(
                    connection, select(*_OUTLINE).where(table.c.tenant == tenant, table.c.id.in_(some))
                )
            ]

        return await self._database.read(read)

    async def drop(self, tenant: str, ids: Sequence[str]) -> int:
        if not ids:
            return 0
        return await self._database.write(
            lambda connection: self._drop(connection, [(tenant, i) for i in ids])
        )

    async def find(self, tenant: str, match: Match, limit: int) -> Sequence[str]:
        statement = select(table.c.id).where(table.c.tenant == tenant)
        if match.model is not None:
            statement = statement.where(table.c.model == match.model)
        if match.tag is not None:
            statement = statement.where(table.c.tags.contains(_tags((match.tag,)), autoescape=True))
        if match.created_before is not None:
            statement = statement.where(table.c.created_at < match.created_before)
        statement = statement.order_by(table.c.created_at, table.c.id).limit(limit)
        return await self._database.read(lambda connection: list(connection.scalars(statement)))

    async def page(self, tenant: str, after: str | None, limit: int) -> Sequence[Entry]:
        statement = select(*_OUTLINE).where(table.c.tenant == tenant, table.c.id > (after or ""))
        statement = statement.order_by(table.c.id).limit(limit)
        return await self._database.read(lambda connection: _all(connection, statement))

    async def walk(self, after: tuple[str, str] | None, limit: int) -> Sequence[Entry]:
        statement = select(*_OUTLINE).order_by(table.c.tenant, table.c.id).limit(limit)
        if after is not None:
            place = tuple_(table.c.tenant, table.c.id)
            statement = statement.where(place > tuple_(*(literal(part) for part in after)))
        return await self._database.read(lambda connection: _all(connection, statement))

    async def touch(self, used: Mapping[tuple[str, str], float]) -> None:
        rows = [{"b_tenant": tenant, "b_id": entry, "at": at} for (tenant, entry), at in sorted(used.items())]
        if rows:
            await self._database.write(lambda connection: connection.execute(_TOUCH, rows).close())

    async def size(self, tenant: str) -> Size:
        return await self._database.read(lambda connection: _size(connection, tenant))

    async def trim(self, now: float, limit: int) -> int:
        over = (
            select(table.c.tenant, table.c.id)
            .where(table.c.expires_at <= now)
            .order_by(table.c.expires_at)
            .limit(limit)
        )

        def write(connection: Connection) -> int:
            self._forget(connection)
            return self._drop(connection, [(row.tenant, row.id) for row in connection.execute(over)])

        return await self._database.write(write)

    async def evict(self, tenant: str, most: Size, limit: int) -> int:
        oldest = (
            select(table.c.id, table.c.bytes)
            .where(table.c.tenant == tenant)
            .order_by(table.c.last_used_at, table.c.id)
            .limit(limit)
        )

        def write(connection: Connection) -> int:
            size = _size(connection, tenant)
            entries, taken = size.entries - most.entries, size.bytes - most.bytes
            ids: list[str] = []
            for row in connection.execute(oldest) if max(entries, taken) > 0 else ():
                if len(ids) >= entries and taken <= 0:
                    break
                ids.append(row.id)
                taken -= row.bytes
            return self._drop(connection, [(tenant, entry) for entry in ids])

        return await self._database.write(write)

    async def latest(self) -> str:
        return str(await self._database.read(_newest))

    async def since(self, position: str, limit: int) -> News:
        after = int(position)

        def read(connection: Connection) -> News:
            oldest, newest = connection.scalar(select(func.min(log.c.seq))), _newest(connection)
            if newest < after or (oldest is not None and oldest > after + 1):
                return News((), str(newest), lost=True)
            statement = select(log).where(log.c.seq > after).order_by(log.c.seq).limit(limit)
            rows = connection.execute(statement).all()
            changes = [Change(row.kind, row.tenant, row.entry, row.scope, row.at) for row in rows]
            return News(changes, str(rows[-1].seq if rows else after))

        return await self._database.read(read)

    def _drop(self, connection: Connection, places: Sequence[tuple[str, str]]) -> int:
        scopes = {place: connection.scalar(_DROP, _names(place)) for place in sorted(set(places))}
        dropped = [(*place, scope) for place, scope in scopes.items() if scope is not None]
        self._tell(connection, "drop", dropped)
        return len(dropped)

    def _tell(self, connection: Connection, kind: str, places: Sequence[tuple[str, str, str]]) -> None:
        if not places:
            return
        if connection.dialect.name == "postgresql":
            # Who gets a number later also commits later, so that nobody who follows reads past a change.
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOG_LOCK})
        at = self._clock.now()
        rows = [
            {"kind": kind, "tenant": tenant, "entry": entry, "scope": scope, "at": at}
            for tenant, entry, scope in places
        ]
        connection.execute(insert(log), rows)

    def _forget(self, connection: Connection) -> None:
        connection.execute(delete(log).where(log.c.seq <= _newest(connection) - self._log_size))


def _upsert(build: Callable[..., Any]) -> Any:
    statement = build(table)
    changes = {name: statement.excluded[name] for name, _ in table.c.items() if name not in ("tenant", "id")}
    return statement.on_conflict_do_update(index_elements=["tenant", "id"], set_=changes)


_PUT = {"sqlite": _upsert(sqlite.insert), "postgresql": _upsert(postgresql.insert)}
_GET = select(table).where(table.c.tenant == bindparam("b_tenant"), table.c.id == bindparam("b_id"))
_DROP = (
    delete(table)
    .where(table.c.tenant == bindparam("b_tenant"), table.c.id == bindparam("b_id"))
    .returning(table.c.scope)
)
_TOUCH = (
    update(table)
    .where(
        table.c.tenant == bindparam("b_tenant"),
        table.c.id == bindparam("b_id"),
        table.c.last_used_at < bindparam("at"),
    )
    .values(last_used_at=bindparam("at"))
)


def _names(place: tuple[str, str]) -> dict[str, str]:
    return {"b_tenant": place[0], "b_id": place[1]}


def _row(entry: Entry) -> dict[str, Any]:
    return {**asdict(entry), "tags": _tags(entry.tags), "last_used_at": entry.created_at}


def _tags(tags: Sequence[str]) -> str:
    """Newlines around each, which no tag holds: so a part of one is never found."""
    return "".join(f"\n{tag}\n" for tag in tags)


def _entry(row: Row[Any]) -> Entry:
    fields = {name: value for name, value in row._mapping.items() if name != "last_used_at"}
    return Entry(**{"body": b"", **fields, "tags": tuple(filter(None, row.tags.split("\n")))})


def _first(connection: Connection, place: Mapping[str, str]) -> Entry | None:
    row = connection.execute(_GET, place).one_or_none()
    return None if row is None else _entry(row)


def _all(connection: Connection, statement: Select[Any]) -> list[Entry]:
    return [_entry(row) for row in connection.execute(statement)]


def _size(connection: Connection, tenant: str) -> Size:
    statement = select(func.count(), func.coalesce(func.sum(table.c.bytes), 0)).where(
        table.c.tenant == tenant
    )
    entries, taken = connection.execute(statement).one()
    return Size(int(entries), int(taken))


def _newest(connection: Connection) -> int:
    return int(connection.scalar(select(func.max(log.c.seq))) or 0)


def _chunks(ids: Sequence[str]) -> list[Sequence[str]]:
    return [ids[start : start + _CHUNK] for start in range(0, len(ids), _CHUNK)]
