"""Histories that all workers and machines share, beside those that a worker remembers by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence

import orjson

from sentinella_plugins.kernel.clock import Clock
from sentinella_plugins.kernel.errors import Unavailable
from sentinella_plugins.memory.config import MemoryConfig
from sentinella_plugins.memory.models import Head, Message
from sentinella_plugins.memory.tails import OwnTails, Tail
from sentinella_plugins.storage.shared import SharedValues

Report = Callable[[str, Unavailable], Awaitable[None]]
_FORMAT = 1
_PAUSE_S = 1.0


class SharedTails:
    """Written after the turn, without anybody waiting for it. While Redis is away the database is read, and
    `report` is told: Redis is asked again after a second."""

    def __init__(
        self, own: OwnTails, values: SharedValues, clock: Clock, config: MemoryConfig, report: Report
    ) -> None:
        self._own = own
        self._values = values
        self._clock = clock
        self._report = report
        self._config = config.shared
        self._reads = (_FORMAT, config.max_loaded_messages, config.max_history_tokens)
        self._ask_from = clock.monotonic()
        self._posted: set[asyncio.Task[None]] = set()

    async def get(self, head: Head) -> Tail | None:
        found = await self._own.get(head)
        if found is None and head.uncovered and self._asks():
            found = await self._shared(head)
            if found is not None:
                self._own.put(head, found)
        return found

    def put(self, head: Head, messages: Tail) -> None:
        """Not what was read while somebody else added to it, nor what nobody would read."""
        self._own.put(head, messages)
        whole = bool(messages) and messages[-1].seq == head.last_seq
        small = sum(message.bytes for message in messages) <= self._config.max_tail_bytes
        if whole and small and self._asks() and len(self._posted) < self._config.max_waiting:
            self._post(self._write(head, messages))

    def forget(self, ref: str) -> None:
        self._own.forget(ref)

    async def drop(self, tenant: str, refs: Sequence[str]) -> None:
        await self._own.drop(tenant, refs)
        await self.idle()  # what this worker still writes would come after
        try:
            await self._values.drop([_name(tenant, ref) for ref in refs])
        except Unavailable as error:
            await self._fail(tenant, error)

    async def idle(self) -> None:
        await asyncio.gather(*self._posted, return_exceptions=True)

    def _asks(self) -> bool:
        return self._clock.monotonic() >= self._ask_from

    async def _shared(self, head: Head) -> Tail | None:
        try:
            text = await self._values.get(_name(head.place.tenant, head.ref))
        except Unavailable as error:
            await self._fail(head.place.tenant, error)
            return None
        return None if text is None else _load(text, self._stamp(head))

    async def _write(self, head: Head, messages: Tail) -> None:
        text = orjson.dumps([self._stamp(head), list(map(tuple, messages))]).decode()
        try:
            await self._values.put(_name(head.place.tenant, head.ref), text)
        except Unavailable as error:
            await self._fail(head.place.tenant, error)

    async def _fail(self, tenant: str, error: Unavailable) -> None:
        self._ask_from = self._clock.monotonic() + _PAUSE_S
        await self._report(tenant, error)

    def _post(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work)
        self._posted.add(task)
        task.add_done_callback(self._posted.discard)

    def _stamp(self, head: Head) -> list[object]:
        """The version and, for a database that was set back to an older state, what else tells heads apart;
        then how much of a session this worker reads."""
        return [head.ref, head.version, head.last_seq, head.covered, head.updated_at, *self._reads]


def _load(text: str, stamp: list[object]) -> Tail | None:
    """`None` for another stamp, and for what is no tail."""
    try:
        found, rows = orjson.loads(text)
        return tuple(Message(*row) for row in rows) if found == stamp else None
    except (ValueError, TypeError):
        return None


def _name(tenant: str, ref: str) -> str:
    return f"{tenant}:{ref}"
