"""Kept answers in Redis or Valkey; their changes go through a stream."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar, cast

from sentinella_plugins.kernel.clock import Clock
from sentinella_plugins.storage.counters_redis import FOLDER, PREFIX, connect, translated
from sentinella_plugins.storage.entries_protocol import Change, Entry, Match, News, Size

T = TypeVar("T")
_CHUNK = 200
_OUTLINE = [field.name for field in fields(Entry) if field.name != "body"]
_NUMBERS = {"cost": int, "bytes": int, "created_at": float, "expires_at": float}


class RedisEntries:
    """Hashes, with sorted sets of when they end and when they were used. Expired ones stay until `trim`."""

    def __init__(
        self,
        url: str,
        *,
        pool_size: int = 50,
        timeout_s: float = 5.0,
        clock: Clock,
        log_size: int = 100_000,
        prefix: str = PREFIX,
    ) -> None:
        self._clock = clock
        self._log_size = log_size
        self._prefix = f"{prefix}c:"
        self._redis = connect(url, pool_size=pool_size, timeout_s=timeout_s)
        names = ("put", "drop", "trim", "evict", "touch")
        self._scripts = {name: self._redis.register_script(_script(name)) for name in names}

    async def open(self) -> None:
        """Nothing to do: connections are made when they are needed."""

    async def close(self) -> None:
        await self._redis.aclose()

    async def put(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            row = [part for pair in _dump(entry).items() for part in pair]
            about = (repr(entry.expires_at), repr(entry.created_at), entry.scope, entry.bytes)
            await self._run("put", entry.tenant, entry.id, *about, *row)

    async def get(self, tenant: str, entry_id: str) -> Entry | None:
        row = await _answer(
            cast("Awaitable[dict[str, str]]", self._redis.hgetall(self._name(tenant, entry_id)))
        )
        return _load(row) if row else None

    async def outlines(self, tenant: str, ids: Sequence[str]) -> Sequence[Entry]:
        return [
            entry
            for some in _chunks(ids)
            for entry in await self._outlines([(tenant, entry_id) for entry_id in some])
        ]

    async def drop(self, tenant: str, ids: Sequence[str]) -> int:
        return sum([int(await self._run("drop", tenant, *some)) for some in _chunks(ids)])

    async def find(self, tenant: str, match: Match, limit: int) -> Sequence[str]:
        fit = [entry for entry in await self._all(tenant) if match.fits(entry)]
        return [entry.id for entry in sorted(fit, key=lambda entry: (entry.created_at, entry.id))[:limit]]

    async def page(self, tenant: str, after: str | None, limit: int) -> Sequence[Entry]:
        ids = sorted(entry_id for entry_id in await self._ids(tenant) if entry_id > (after or ""))
        return await self.outlines(tenant, ids[:limit])

    async def walk(self, after: tuple[str, str] | None, limit: int) -> Sequence[Entry]:
        found: list[Entry] = []
        tenants = await _answer(cast("Awaitable[set[str]]", self._redis.smembers(f"{self._prefix}t")))
        for tenant in sorted(tenants):
            last = after[1] if after is not None and after[0] == tenant else None
            if (after is None or tenant >= after[0]) and len(found) < limit:
                found += await self.page(tenant, last, limit - len(found))
        return found

    async def touch(self, used: Mapping[tuple[str, str], float]) -> None:
        for some in _chunks(list(used)):
            places = [part for place in some for part in (*place, repr(used[place]))]
            with translated():
                await self._scripts["touch"]([], [self._prefix, *places])

    async def size(self, tenant: str) -> Size:
        entries = await _answer(self._redis.zcard(f"{self._prefix}u:{tenant}"))
        taken = await _answer(cast("Awaitable[str | None]", self._redis.get(f"{self._prefix}b:{tenant}")))
        return Size(int(entries), int(taken or 0))

    async def trim(self, now: float, limit: int) -> int:
        return int(await self._run("trim", repr(now), limit))

    async def evict(self, tenant: str, most: Size, limit: int) -> int:
        return int(await self._run("evict", tenant, most.entries, most.bytes, limit))

    async def latest(self) -> str:
        newest, _ = await self._ends()
        return newest

    async def since(self, position: str, limit: int) -> News:
        newest, oldest = await self._ends()
        if _order(position) > _order(newest) or _order(position) < _order(oldest):
            return News((), newest, lost=True)
        log = f"{self._prefix}log"
        rows = await _answer(
            cast("Awaitable[list[Any]]", self._redis.xrange(log, min=f"({position}", count=limit))
        )
        changes = [
            Change(row["kind"], row["tenant"], row["entry"], row["scope"], float(row["at"]))
            for _, row in rows
        ]
        return News(changes, rows[-1][0] if rows else position)

    async def _ends(self) -> tuple[str, str]:
        """Of the log: the newest change and, when some were forgotten, the oldest that is left."""
        log = f"{self._prefix}log"
        if not await _answer(self._redis.exists(log)):
            return "0-0", "0-0"
        told = await _answer(self._redis.xinfo_stream(log))
        whole = told["entries-added"] == told["length"]
        return str(told["last-generated-id"]), "0-0" if whole else str(told["first-entry"][0])

    async def _ids(self, tenant: str) -> list[str]:
        return await _answer(
            cast("Awaitable[list[str]]", self._redis.zrange(f"{self._prefix}u:{tenant}", 0, -1))
        )

    async def _all(self, tenant: str) -> Sequence[Entry]:
        return await self.outlines(tenant, await self._ids(tenant))

    async def _outlines(self, places: Sequence[tuple[str, str]]) -> list[Entry]:
        with translated():
            pipeline = self._redis.pipeline(transaction=False)
            for place in places:
                pipeline.hmget(self._name(*place), _OUTLINE)
            rows = await pipeline.execute()
        return [_load(dict(zip(_OUTLINE, row, strict=True))) for row in rows if row[0] is not None]

    async def _run(self, name: str, *arguments: str | int) -> Any:
        given = [self._prefix, repr(self._clock.now()), self._log_size, *arguments]
        with translated():
            return await self._scripts[name]([], given)

    def _name(self, tenant: str, entry_id: str) -> str:
        return f"{self._prefix}e:{tenant}:{entry_id}"


async def _answer(answer: Awaitable[T]) -> T:
    with translated():
        return await answer


def _script(verb: str) -> str:
    return "\n".join((FOLDER / f"{name}.lua").read_text("utf-8") for name in ("entries", f"entries_{verb}"))


def _dump(entry: Entry) -> dict[str, str]:
    row = {field.name: getattr(entry, field.name) for field in fields(entry)}
    row |= {"vector": base64.b64encode(entry.vector).decode(), "body": base64.b64encode(entry.body).decode()}
    row["tags"] = "\n".join(entry.tags)
    return {name: repr(value) if isinstance(value, float) else str(value) for name, value in row.items()}


def _load(row: Mapping[str, str]) -> Entry:
    values: dict[str, Any] = {name: _NUMBERS.get(name, str)(value) for name, value in row.items()}
    values["vector"] = base64.b64decode(row["vector"])
    values["body"] = base64.b64decode(row.get("body", ""))
    values["tags"] = tuple(filter(None, row["tags"].split("\n")))
    return Entry(**values)


def _order(position: str) -> tuple[int, int]:
    milliseconds, _, number = position.partition("-")
    return int(milliseconds), int(number or 0)


def _chunks(items: Sequence[T]) -> list[Sequence[T]]:
    return [items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK)]
