"""Counters in the SQL database. Operations that wait for the writer together are decided together."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import cast

from sqlalchemy import Connection, and_, delete, exists, or_, select, text
from sqlalchemy.exc import IntegrityError

from sentinella_plugins.kernel.clock import Clock
from sentinella_plugins.kernel.errors import Unavailable
from sentinella_plugins.storage.arithmetic import (
    FORGET_AFTER_S,
    UNBEATEN_S,
    Books,
    Bucket,
    check,
    check_counted,
)
from sentinella_plugins.storage.counters_statements import STATEMENTS
from sentinella_plugins.storage.database import Database
from sentinella_plugins.storage.protocols import Claim, Reservation, Verdict
from sentinella_plugins.storage.tables import counters, leases, reservations
from sentinella_plugins.storage.wire import dump_claims, dump_memo, load_reservation

FORGET_AT_ONCE = 1_000
"""Buckets deleted per reap, so that one reap never holds the writer for long."""

_BEAT = text(
    "INSERT INTO leases (owner, until) VALUES (:owner, :until) "
    "ON CONFLICT (owner) DO UPDATE SET until = excluded.until"
)


@dataclass(frozen=True, slots=True)
class _Reserve:
    reservation: Reservation
    now: float


@dataclass(frozen=True, slots=True)
class _Settle:
    id: str
    actual: Mapping[str, int] | None
    now: float


@dataclass(frozen=True, slots=True)
class _Count:
    claims: Sequence[Claim]


_Step = _Reserve | _Settle | _Count


class SqlCounters:
    """Exact across the workers of one machine on SQLite, across machines on PostgreSQL.

    It lives on a `Database` that somebody else opens and closes.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def healthy(self) -> bool:
        return await self._database.healthy()

    async def reserve(self, reservation: Reservation) -> Verdict:
        check(reservation)
        try:
            verdict = await self._database.write_grouped(_decide, _Reserve(reservation, self._clock.now()))
        except IntegrityError as error:
            raise ValueError(f"reservation `{reservation.id}` is in use") from error
        except (asyncio.CancelledError, Unavailable):
            self._undo(reservation.id)
            raise
        return cast("Verdict", verdict)

    async def count(self, claims: Sequence[Claim]) -> Verdict:
        check_counted(claims)
        return cast("Verdict", await self._database.write_grouped(_decide, _Count(claims)))

    async def settle(self, reservation_id: str, actual: Mapping[str, int]) -> bool:
        return await self._settle(reservation_id, dict(actual))

    async def release(self, reservation_id: str) -> bool:
        return await self._settle(reservation_id, None)

    async def read(self, keys: Sequence[str]) -> Mapping[str, int]:
        query = select(counters.c.key, counters.c.value).where(counters.c.key.in_(keys))
        rows = await self._database.read(lambda connection: connection.execute(query).all())
        return dict.fromkeys(keys, 0) | {row.key: row.value for row in rows}

    async def beat(self, owner: str, until: float) -> None:
        await self._database.write(lambda connection: _beat(connection, owner, until))

    async def reap(self, now: float, limit: int = 100) -> Sequence[Reservation]:
        return await self._database.write(lambda connection: _reap(connection, now, limit))

    async def _settle(self, reservation_id: str, actual: Mapping[str, int] | None) -> bool:
        step = _Settle(reservation_id, actual, self._clock.now())
        return cast("bool", await self._database.write_grouped(_decide, step))

    def _undo(self, reservation_id: str) -> None:
        """Whether it was made is unknown, and nobody reaps it while its owner lives."""
        with suppress(Unavailable):
            self._database.post_grouped(_decide, _Settle(reservation_id, None, self._clock.now()))


def _decide(connection: Connection, steps: Sequence[_Step]) -> Sequence[Verdict | bool | Exception]:
    held = _take(connection, [step.id for step in steps if isinstance(step, _Settle)])
    asked = [_claims(step, held) for step in steps]
    books = Books(_load(connection, chain.from_iterable(asked)), held)
    before = {key: bucket.value for key, bucket in books.buckets.items()}
    results = [_step(books, step) for step in steps]
    _save(connection, books, before)
    _keep(
        connection,
        [step for step in steps if isinstance(step, _Reserve) and step.reservation.id in books.held],
    )
    return results


def _claims(step: _Step, held: Mapping[str, Reservation]) -> Sequence[Claim]:
    if isinstance(step, _Count):
        return step.claims
    reservation = step.reservation if isinstance(step, _Reserve) else held.get(step.id)
    return reservation.claims if reservation else ()


def _step(books: Books, step: _Step) -> Verdict | bool | Exception:
    if isinstance(step, _Count):
        return books.count(step.claims)
    if isinstance(step, _Settle):
        return books.settle(step.id, step.actual, step.now)
    try:
        return books.reserve(step.reservation)
    except ValueError as error:
        return error


def _reap(connection: Connection, now: float, limit: int) -> Sequence[Reservation]:
    unbeaten = and_(leases.c.owner.is_(None), reservations.c.created_at <= now - UNBEATEN_S)
    dead = (
        select(reservations.c.id)
        .outerjoin(leases, leases.c.owner == reservations.c.owner)
        .where(or_(leases.c.until <= now, unbeaten))
        .order_by(reservations.c.created_at)
        .limit(limit)
        .with_for_update(of=reservations, skip_locked=True)
    )
    held = _take(connection, connection.scalars(dead).all())
    found = list(held.values())
    books = Books(_load(connection, [claim for reservation in found for claim in reservation.claims]), held)
    for reservation in found:
        books.settle(reservation.id, None, now)
    _save(connection, books, {})
    _forget(connection, now)
    return found


def _forget(connection: Connection, now: float) -> None:
    over = or_(
        counters.c.expires_at <= now - FORGET_AFTER_S,
        and_(counters.c.expires_at.is_(None), counters.c.value == 0),
    )
    keys = select(counters.c.key).where(over).limit(FORGET_AT_ONCE).with_for_update(skip_locked=True)
    connection.execute(delete(counters).where(counters.c.key.in_(keys)))
    holding = exists().where(reservations.c.owner == leases.c.owner)
    connection.execute(delete(leases).where(leases.c.until <= now, ~holding))


def _beat(connection: Connection, owner: str, until: float) -> None:
    connection.execute(_BEAT, {"owner": owner, "until": until})


def _take(connection: Connection, ids: Sequence[str]) -> dict[str, Reservation]:
    if not ids:
        return {}
    statements = STATEMENTS[connection.dialect.name]
    rows = connection.exec_driver_sql(statements.take, statements.take_parameters(ids))
    return {row[0]: load_reservation(*row) for row in rows}


def _load(connection: Connection, claims: Iterable[Claim]) -> dict[str, Bucket]:
    expiries = {claim.key: claim.expires_at for claim in claims}
    if not expiries:
        return {}
    statements = STATEMENTS[connection.dialect.name]
    rows = connection.exec_driver_sql(statements.load, statements.load_parameters(sorted(expiries.items())))
    return {key: Bucket(value, expires_at) for key, value, expires_at in rows}


def _save(connection: Connection, books: Books, before: Mapping[str, int]) -> None:
    changed = [
        (key, bucket.value, bucket.expires_at)
        for key, bucket in books.buckets.items()
        if before.get(key) != bucket.value
    ]
    if changed:
        connection.exec_driver_sql(STATEMENTS[connection.dialect.name].save, changed)


def _keep(connection: Connection, granted: Sequence[_Reserve]) -> None:
    rows = [
        (held.id, held.owner, dump_claims(held.claims), dump_memo(held.memo), step.now)
        for step in granted
        if (held := step.reservation)
    ]
    if rows:
        connection.exec_driver_sql(STATEMENTS[connection.dialect.name].keep, rows)
