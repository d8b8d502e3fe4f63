"""Ledger lines in SQL. Every sum is taken there, in integers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

import orjson
from sqlalchemy import (
    ColumnElement,
    Connection,
    Dialect,
    Integer,
    Select,
    and_,
    case,
    delete,
    func,
    literal_column,
    or_,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from sentinella_plugins.accounting.models import CallQuery, Dimension, LedgerLine, Sums, UsageQuery, UsageRow
from sentinella_plugins.kernel.errors import BadRequest
from sentinella_plugins.kernel.money import Nano
from sentinella_plugins.storage.database import Database
from sentinella_plugins.storage.tables import ledger

Row = Mapping[str, object]
_DIALECTS: Mapping[str, Callable[[], Dialect]] = {
    "sqlite": sqlite.dialect,
    "postgresql": PGDialect_psycopg,
}
_CONVERTED = ("cost", "stream", "cached", "attempts")
_PLAIN = tuple(field.name for field in fields(LedgerLine) if field.name not in _CONVERTED)


class LedgerStore:
    def __init__(self, database: Database) -> None:
        self._database = database
        compiled = _insert(database.dialect).compile(dialect=_DIALECTS[database.dialect]())
        # As text: this is written for every call, and preparing it in Core costs more than running it.
        self._insert = compiled.string
        self._order = compiled.positiontup

    async def add(self, rows: Sequence[Row]) -> None:
        """Each once, however often it is added. A line replaces the `abandoned` one that stood in for it."""
        batch = [self._parameters(row) for row in rows]
        await self._database.write(lambda connection: _execute(connection, self._insert, batch))

    def _parameters(self, row: Row) -> Any:
        return dict(row) if self._order is None else tuple(row[name] for name in self._order)

    async def sums(self, query: UsageQuery, limit: int) -> list[UsageRow]:
        statement = _sums(query).limit(limit)
        return await self._database.read(
            lambda connection: [_usage_row(query.group_by, row) for row in connection.execute(statement)]
        )

    async def lines(self, query: CallQuery) -> list[LedgerLine]:
        return await self._database.read(lambda connection: _lines(connection, query))

    async def trim(self, before: float, limit: int) -> int:
        """Deletes at most `limit` of the oldest lines; how many it were."""
        oldest = select(ledger.c.request_id).where(ledger.c.at < before).order_by(ledger.c.at).limit(limit)
        statement = delete(ledger).where(ledger.c.request_id.in_(oldest.scalar_subquery()))
        return await self._database.write(lambda connection: connection.execute(statement).rowcount)


def to_row(line: LedgerLine) -> Row:
    row: dict[str, object] = {name: getattr(line, name) for name in _PLAIN}
    row["cost_nano"] = line.cost
    row["stream"] = int(line.stream)
    row["cached"] = int(line.cached)
    row["attempts"] = orjson.dumps(line.attempts).decode() if line.attempts else "[]"
    return row


def from_row(row: Mapping[str, Any]) -> LedgerLine:
    """KeyError, TypeError or ValueError when it is no row of the ledger."""
    return LedgerLine(
        **{name: row[name] for name in _PLAIN},
        cost=Nano(int(row["cost_nano"])),
        stream=bool(row["stream"]),
        cached=bool(row["cached"]),
        attempts=tuple(orjson.loads(row["attempts"])),
    )


class _day_number(FunctionElement[int]):
    """Days since 1970 of a time in Unix seconds."""

    type = Integer()
    inherit_cache = True


@compiles(_day_number, "sqlite")
def _day_sqlite(element: _day_number, compiler: Any, **options: Any) -> str:
    return f"(CAST({compiler.process(element.clauses, **options)} AS INTEGER) / 86400)"


@compiles(_day_number, "postgresql")
def _day_postgresql(element: _day_number, compiler: Any, **options: Any) -> str:
    return f"(CAST(floor({compiler.process(element.clauses, **options)}) AS BIGINT) / 86400)"


_GROUPS: Mapping[Dimension, ColumnElement[Any]] = {
    "day": _day_number(ledger.c.at),
    "model": ledger.c.model,
    "key": ledger.c.key_id,
    "tenant": ledger.c.tenant,
    "provider": ledger.c.provider,
}
_SUMS: Mapping[str, ColumnElement[Any]] = {
    "requests": func.count(),
    "successes": func.sum(case((ledger.c.status == "success", 1), else_=0)),
    "errors": func.sum(case((ledger.c.status == "error", 1), else_=0)),
    "prompt_tokens": func.sum(ledger.c.prompt_tokens),
    "completion_tokens": func.sum(ledger.c.completion_tokens),
    "cached_tokens": func.sum(ledger.c.cached_tokens),
    "reasoning_tokens": func.sum(ledger.c.reasoning_tokens),
    "cost": func.sum(ledger.c.cost_nano),
}


def _insert(dialect: str) -> Any:
    build: Callable[..., Any] = postgresql.insert if dialect == "postgresql" else sqlite.insert
    insert = build(ledger)
    changes = {name: insert.excluded[name] for name, _ in ledger.c.items() if name != "request_id"}
    abandoned: ColumnElement[str] = literal_column("'abandoned'")
    stands_in = and_(ledger.c.status == abandoned, insert.excluded.status != abandoned)
    return insert.on_conflict_do_update(index_elements=["request_id"], set_=changes, where=stands_in)


def _execute(connection: Connection, statement: str, batch: list[Any]) -> None:
    if batch:
        connection.exec_driver_sql(statement, batch)


def _between(query: UsageQuery | CallQuery) -> list[ColumnElement[bool]]:
    conditions = [ledger.c.at >= query.since, ledger.c.at < query.until]
    return conditions if query.tenant is None else [ledger.c.tenant == query.tenant, *conditions]


def _sums(query: UsageQuery) -> Select[Any]:
    groups = [_GROUPS[name] for name in query.group_by]
    return select(*groups, *_SUMS.values()).where(*_between(query)).group_by(*groups).order_by(*groups)


def _usage_row(group_by: Sequence[Dimension], row: Sequence[Any]) -> UsageRow:
    values = [int(value or 0) for value in row[len(group_by) :]]
    pairs = zip(group_by, row, strict=False)
    group = {name: _day(value) if name == "day" else str(value) for name, value in pairs}
    return UsageRow(group, Sums(**dict(zip(_SUMS, values, strict=True))))  # type: ignore[arg-type]


def _day(number: int) -> str:
    return datetime.fromtimestamp(int(number) * 86_400, UTC).date().isoformat()


def _lines(connection: Connection, query: CallQuery) -> list[LedgerLine]:
    conditions = _between(query)
    if query.model is not None:
        conditions.append(ledger.c.model == query.model)
    if query.status is not None:
        conditions.append(ledger.c.status == query.status)
    if query.after is not None:
        conditions.append(_older(connection, query.after, query.tenant))
    statement = select(ledger).where(*conditions).order_by(ledger.c.at.desc(), ledger.c.request_id.desc())
    return [from_row(dict(row)) for row in connection.execute(statement.limit(query.limit)).mappings()]


def _older(connection: Connection, request_id: str, tenant: str | None) -> ColumnElement[bool]:
    seen = select(ledger.c.at).where(ledger.c.request_id == request_id)
    at = connection.scalar(seen if tenant is None else seen.where(ledger.c.tenant == tenant))
    if at is None:
        raise BadRequest(f"There is no call `{request_id}` to list the calls after.", param="after")
    return or_(ledger.c.at < at, and_(ledger.c.at == at, ledger.c.request_id < request_id))
