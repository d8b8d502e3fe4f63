"""Kept answers, comparisons and counts ⇄ storage."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import delete, func, insert, select
from sqlalchemy.dialects import postgresql, sqlite

from sentinella_plugins.cache.models import Checked
from sentinella_plugins.storage.database import Database
from sentinella_plugins.storage.entries import Entry
from sentinella_plugins.storage.tables import cache_checks, cache_counts


def checksum(tenant: str, entry_id: str, body: bytes) -> str:
    return hashlib.sha256(f"{tenant}\n{entry_id}\n".encode() + body).hexdigest()


def is_sound(entry: Entry) -> bool:
    return entry.checksum == checksum(entry.tenant, entry.id, entry.body)


class Books:
    """Comparisons and counts are always in the SQL database, whatever holds the answers."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add_checks(self, checks: Sequence[Checked]) -> None:
        rows = [_check_row(checked) for checked in checks]
        if rows:
            await self._database.write(
                lambda connection: connection.execute(insert(cache_checks), rows).close()
            )

    async def checks_since(self, seq: int, limit: int) -> Sequence[tuple[int, Checked]]:
        """Of all tenants, oldest first, with their numbers."""
        statement = select(cache_checks).where(cache_checks.c.seq > seq)
        statement = statement.order_by(cache_checks.c.seq).limit(limit)
        rows = await self._database.read(lambda connection: connection.execute(statement).all())
        return [(row.seq, _checked(row)) for row in rows]

    async def trim_checks(self, tenant: str, keep: int) -> None:
        of_tenant = cache_checks.c.tenant == tenant
        kept = (
            select(cache_checks.c.seq)
            .where(of_tenant)
            .order_by(cache_checks.c.seq.desc())
            .offset(keep)
            .limit(1)
            .scalar_subquery()
        )
        statement = delete(cache_checks).where(of_tenant, cache_checks.c.seq <= func.coalesce(kept, -1))
        await self._database.write(lambda connection: connection.execute(statement).close())

    async def add_counts(self, counts: Iterable[tuple[str, str, int]]) -> None:
        """(tenant, name, how many more)."""
        rows = [{"tenant": tenant, "name": name, "value": more} for tenant, name, more in sorted(counts)]
        if rows:
            await self._database.write(
                lambda connection: connection.execute(_ADD[connection.dialect.name], rows).close()
            )

    async def counts(self, tenant: str) -> Mapping[str, int]:
        statement = select(cache_counts.c.name, cache_counts.c.value).where(cache_counts.c.tenant == tenant)
        rows = await self._database.read(lambda connection: connection.execute(statement).all())
        return {row.name: row.value for row in rows}


def _add(build: Callable[..., Any]) -> Any:
    statement = build(cache_counts)
    value = cache_counts.c.value + statement.excluded.value
    return statement.on_conflict_do_update(index_elements=["tenant", "name"], set_={"value": value})


_ADD = {"sqlite": _add(sqlite.insert), "postgresql": _add(postgresql.insert)}


def _check_row(checked: Checked) -> dict[str, object]:
    return {
        "tenant": checked.tenant,
        "entry": checked.entry,
        "score": checked.score,
        "ok": int(checked.ok),
        "weight": checked.weight,
        "hits": checked.hits,
        "at": checked.at,
    }


def _checked(row: Any) -> Checked:
    return Checked(row.tenant, row.entry, row.score, bool(row.ok), row.weight, row.hits, row.at)
