"""Decisions, sums, scores and profiles in SQL. What workers add up together is added in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from sqlalchemy import Connection, RowMapping, Table, delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from sentinella_plugins.router.learning import WIDTH, Key, fading
from sentinella_plugins.router.models import Entry, Floats, Learned, Observation, Tally
from sentinella_plugins.router.tallies import TallyKey
from sentinella_plugins.storage.database import Database
from sentinella_plugins.storage.tables import (
    router_decisions,
    router_observations,
    router_profiles,
    router_stats,
    router_tallies,
)

TRIM = 2_000


@dataclass(frozen=True, slots=True)
class RouterStore:
    database: Database

    async def keep_decisions(self, entries: Sequence[Entry]) -> None:
        rows = [asdict(entry) for entry in entries]
        for row in rows:
            row["features"] = row.pop("values")
        await self._write(lambda connection: _put(connection, router_decisions, ["request_id"], rows))

    async def decision(self, request_id: str) -> Entry | None:
        query = select(router_decisions).where(router_decisions.c.request_id == request_id)
        row = await self.database.read(lambda connection: connection.execute(query).mappings().one_or_none())
        return None if row is None else _entry(row)

    async def last_model(self, tenant: str, session: str) -> str | None:
        table = router_decisions.c
        query = (
            select(table.model)
            .where(table.tenant == tenant, table.session == session)
            .order_by(table.at.desc())
            .limit(1)
        )
        return await self.database.read(lambda connection: connection.scalar(query))

    async def trim_decisions(self, keep: int, before: float) -> int:
        """Deletes decisions beyond the newest `keep` and those from before then, some at a time; how many."""
        at, key = router_decisions.c.at, router_decisions.c.request_id

        def trim(connection: Connection) -> int:
            edge = connection.scalar(select(at).order_by(at.desc()).offset(keep).limit(1))
            limit = before if edge is None else max(before, edge)
            oldest = select(key).where(at <= limit).order_by(at).limit(TRIM)
            return connection.execute(delete(router_decisions).where(key.in_(oldest))).rowcount

        return await self.database.write(trim)

    async def merge_stats(self, news: Mapping[Key, Floats], now: float, half_life_s: float) -> None:
        if news:
            await self._write(lambda connection: _merge_stats(connection, news, now, half_life_s))

    async def stats(self, now: float, half_life_s: float) -> dict[Key, Floats]:
        """Faded to now."""
        rows = await self.database.read(lambda connection: connection.execute(select(router_stats)).all())
        return {
            (row.model, row.task): _sums(row.sums) * fading(now - row.updated_at, half_life_s) for row in rows
        }

    async def forget_stats(self, before: float) -> None:
        await self._write(
            lambda connection: connection.execute(
                delete(router_stats).where(router_stats.c.updated_at < before)
            ).close()
        )

    async def merge_tallies(self, news: Mapping[TallyKey, Tally], now: float) -> None:
        if news:
            await self._write(lambda connection: _merge_tallies(connection, news, now))

    async def tallies(self) -> dict[TallyKey, Tally]:
        rows = await self.database.read(lambda connection: connection.execute(select(router_tallies)).all())
        return {(row.kind, row.name, row.arm): Tally(row.n, row.total, row.squares) for row in rows}

    async def forget_tallies(self, before: float) -> None:
        table = router_tallies
        await self._write(
            lambda connection: connection.execute(delete(table).where(table.c.updated_at < before)).close()
        )

    async def observe(self, observations: Sequence[Observation], keep: int) -> int:
        """How many are new; the others take the place of earlier ones of the same tenant and id."""
        rows = [asdict(one) for one in observations]
        for row in rows:
            row["features"] = row.pop("values")
        pairs = sorted({(one.tenant, one.model) for one in observations})

        def put(connection: Connection) -> int:
            known = _known(connection, observations)
            _put(connection, router_observations, ["tenant", "id"], rows)
            for tenant, model in pairs:
                _trim_observations(connection, tenant, model, keep)
            return len(rows) - known

        return await self.database.write(put)

    async def observations(self, tenant: str, model: str, limit: int) -> list[Observation]:
        """The newest."""
        table = router_observations
        query = (
            select(table)
            .where(table.c.tenant == tenant, table.c.model == model)
            .order_by(table.c.at.desc(), table.c.id)
            .limit(limit)
        )
        rows = await self.database.read(lambda connection: connection.execute(query).mappings().all())
        return [_observation(row) for row in rows]

    async def keep_profiles(self, learned: Sequence[Learned]) -> None:
        rows = [asdict(one) for one in learned]
        await self._write(lambda connection: _put(connection, router_profiles, ["tenant", "model"], rows))

    async def profiles(self, tenant: str) -> list[Learned]:
        return await self._profiles(router_profiles.c.tenant == tenant)

    async def profiles_since(self, when: float) -> list[Learned]:
        return await self._profiles(router_profiles.c.updated_at >= when)

    async def forget_tenant(self, tenant: str) -> None:
        """Everything that was learned from this tenant alone."""

        def forget(connection: Connection) -> None:
            for table in (router_decisions, router_observations, router_profiles):
                connection.execute(delete(table).where(table.c.tenant == tenant))

        await self._write(forget)

    async def _profiles(self, condition: Any) -> list[Learned]:
        query = select(router_profiles).where(condition)
        rows = await self.database.read(lambda connection: connection.execute(query).mappings().all())
        return [Learned(**row) for row in rows]

    async def _write(self, fn: Callable[[Connection], None]) -> None:
        await self.database.write(fn)


def _put(connection: Connection, table: Table, keys: list[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """In one order, so that two workers never wait crosswise."""
    if not rows:
        return
    insert = _inserting(connection)(table)
    changes = {name: insert.excluded[name] for name, _ in table.c.items() if name not in keys}
    ordered = sorted(rows, key=lambda row: tuple(row[key] for key in keys))
    connection.execute(insert.on_conflict_do_update(index_elements=keys, set_=changes), ordered)


def _known(connection: Connection, observations: Sequence[Observation]) -> int:
    table = router_observations.c
    found = 0
    for tenant in {one.tenant for one in observations}:
        ids = [one.id for one in observations if one.tenant == tenant]
        for start in range(0, len(ids), TRIM):
            some = table.id.in_(ids[start : start + TRIM])
            found += connection.scalar(select(func.count()).where(table.tenant == tenant, some)) or 0
    return found


def _trim_observations(connection: Connection, tenant: str, model: str, keep: int) -> None:
    table = router_observations.c
    mine = (table.tenant == tenant, table.model == model)
    beyond = select(table.id).where(*mine).order_by(table.at.desc(), table.id).offset(keep).limit(10 * TRIM)
    connection.execute(delete(router_observations).where(*mine, table.id.in_(beyond)))


def _merge_stats(connection: Connection, news: Mapping[Key, Floats], now: float, half_life_s: float) -> None:
    table = router_stats
    fresh = [
        {"model": model, "task": task, "sums": np.zeros(WIDTH).tobytes(), "updated_at": now}
        for model, task in sorted(news)
    ]
    connection.execute(_inserting(connection)(table).on_conflict_do_nothing(), fresh)
    models = {model for model, _ in news}
    query = select(table).where(table.c.model.in_(models)).order_by(table.c.model, table.c.task)
    for row in connection.execute(query.with_for_update()).all():
        added = news.get((row.model, row.task))
        if added is None:
            continue
        until = max(now, row.updated_at)
        sums = _sums(row.sums) * fading(until - row.updated_at, half_life_s) + added
        mine = (table.c.model == row.model, table.c.task == row.task)
        connection.execute(update(table).where(*mine).values(sums=sums.tobytes(), updated_at=until))


def _merge_tallies(connection: Connection, news: Mapping[TallyKey, Tally], now: float) -> None:
    insert = _inserting(connection)(router_tallies)
    columns = router_tallies.c
    added = {name: columns[name] + insert.excluded[name] for name in ("n", "total", "squares")}
    rows = [
        {"kind": kind, "name": name, "arm": arm, **asdict(tally), "updated_at": now}
        for (kind, name, arm), tally in sorted(news.items(), key=lambda item: item[0])
    ]
    changes = {**added, "updated_at": insert.excluded.updated_at}
    connection.execute(
        insert.on_conflict_do_update(index_elements=["kind", "name", "arm"], set_=changes), rows
    )


def _inserting(connection: Connection) -> Callable[..., Any]:
    return postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert


def _sums(raw: bytes) -> Floats:
    return np.frombuffer(raw, dtype="<f8").copy()


def _entry(row: RowMapping) -> Entry:
    return Entry(**{("values" if name == "features" else name): value for name, value in row.items()})


def _observation(row: RowMapping) -> Observation:
    return Observation(**{("values" if name == "features" else name): value for name, value in row.items()})
