"""Keeps the ledger: one line per call, durable when recorded, none lost and none doubled."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import BinaryIO

import orjson

from sentinella_plugins.accounting.config import AccountingConfig
from sentinella_plugins.accounting.lines import abandoned
from sentinella_plugins.accounting.models import CallQuery, LedgerLine, Report, Sums, UsageQuery, UsageRow
from sentinella_plugins.accounting.spool import Spool, claimed, complete_lines, finish
from sentinella_plugins.accounting.store import LedgerStore, Row, from_row, to_row
from sentinella_plugins.kernel.clock import Clock
from sentinella_plugins.kernel.errors import BadRequest, Unavailable
from sentinella_plugins.kernel.events import CallAbandoned, Events
from sentinella_plugins.storage.database import Database

logger = logging.getLogger(__name__)
_BATCH = 500
_Waiting = tuple[Row, asyncio.Future[None]]


class AccountingService:
    """`run()` must be running for lines on disk to reach the database, and for old ones to go.

    `on_spool` is told how many bytes wait on disk whenever that changes.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        config: AccountingConfig,
        spool_dir: Path,
        *,
        on_spool: Callable[[int], None] | None = None,
    ) -> None:
        self._store = LedgerStore(database)
        self._clock = clock
        self._config = config
        self._spool = Spool(spool_dir, config.spool_max_bytes)
        self._on_spool = on_spool
        self._waiting: list[_Waiting] = []
        self._flusher: asyncio.Task[None] | None = None
        self._down = False

    def listen(self, events: Events) -> None:
        """A call whose worker died gets a line without cost."""

        async def record(event: CallAbandoned) -> None:
            await self.record(abandoned(event))

        events.subscribe(CallAbandoned, record)

    async def record(self, line: LedgerLine) -> None:
        """Durable when it returns: in the database, or on disk while that is down. Twice counts once.

        `Unavailable` when neither takes it; the line is then in the log.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((to_row(line), future))
        if self._flusher is None:
            self._flusher = asyncio.create_task(self._flush())
        await future

    async def usage(self, query: UsageQuery) -> Report:
        """`BadRequest` when the report would be longer than `max_usage_rows`."""
        rows = await self._store.sums(query, self._config.max_usage_rows + 1)
        if len(rows) > self._config.max_usage_rows:
            raise BadRequest("This report is too long: ask for fewer days or groups.", param="group_by")
        return Report(tuple(rows), total(rows))

    async def calls(self, query: CallQuery) -> tuple[list[LedgerLine], bool]:
        """A page of at most `query.limit` lines, and whether there are more."""
        lines = await self._store.lines(replace(query, limit=query.limit + 1))
        return lines[: query.limit], len(lines) > query.limit

    async def run(self) -> None:
        """Replays what waits on disk, that of dead processes too, and trims the ledger; until cancelled."""
        trim_at = self._clock.monotonic()
        while True:
            await _try(self.replay)
            if self._clock.monotonic() >= trim_at:
                await _try(self.trim)
                trim_at = self._clock.monotonic() + self._config.trim_interval_s
            await asyncio.sleep(self._config.replay_interval_s)

    async def close(self) -> None:
        """Waits until everything that was handed to `record` is kept."""
        while self._flusher is not None:
            await asyncio.wait([self._flusher])
        await asyncio.to_thread(self._spool.seal)

    async def replay(self) -> None:
        """Brings waiting lines into the ledger. `Unavailable` while the database is down."""
        while self._down or self._spool.files():
            await self._store.add([])
            await asyncio.to_thread(self._spool.seal)
            replayed = [await self._replay_file(path) for path in self._spool.files()]
            self._down = False
            self._tell()
            if not any(replayed):
                return

    async def trim(self) -> int:
        """Deletes lines older than `keep_days`, a batch at a time; how many it were."""
        if self._config.keep_days is None:
            return 0
        before = self._clock.now() - self._config.keep_days * 86_400
        deleted = 0
        while batch := await self._store.trim(before, self._config.trim_batch):
            deleted += batch
            await asyncio.sleep(0.05)  # between two batches the writer serves calls
        return deleted

    async def _flush(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:_BATCH], self._waiting[_BATCH:]
                await self._deliver(batch)
        finally:
            self._flusher = None

    async def _deliver(self, batch: Sequence[_Waiting]) -> None:
        try:
            await self._keep([row for row, _ in batch])
        except asyncio.CancelledError:
            _settle(batch, Unavailable("The gateway is shutting down."))
            raise
        except Exception as error:
            if len(batch) > 1 and not isinstance(error, Unavailable):
                for entry in batch:
                    await self._deliver([entry])
                return
            for row, _ in batch:
                logger.critical("the ledger lost a line: %s", orjson.dumps(row).decode())
            _settle(batch, error)
        else:
            _settle(batch, None)

    async def _keep(self, rows: Sequence[Row]) -> None:
        if not self._down:
            try:
                return await self._store.add(rows)
            except Unavailable as error:
                self._down = True  # calls no longer wait for its timeout; `replay` finds out when it is back
                logger.warning("the ledger goes to disk: %s", error)
        await asyncio.to_thread(self._spool.append, [orjson.dumps(row) for row in rows])
        self._tell()

    async def _replay_file(self, path: Path) -> bool:
        with claimed(path) as file:
            if file is None:
                return False
            rejected = 0
            for chunk in _chunks(file):
                rejected += await self._replay_lines(chunk)
            if rejected:
                logger.error(
                    "%d lines of `%s` do not fit the ledger: it stays as `.rejected`", rejected, path
                )
            finish(path, keep=rejected > 0)
            return True

    async def _replay_lines(self, chunk: Sequence[bytes]) -> int:
        """How many do not fit."""
        rows = [row for row in map(_parse, chunk) if row is not None]
        try:
            await self._store.add(rows)
        except Unavailable:
            raise
        except Exception:
            if len(chunk) == 1:
                return 1
            return sum([await self._replay_lines([line]) for line in chunk])
        return len(chunk) - len(rows)

    def _tell(self) -> None:
        if self._on_spool is not None:
            self._on_spool(self._spool.size())


def total(rows: Sequence[UsageRow]) -> Sums:
    names = [field.name for field in fields(Sums)]
    return Sums(**{name: sum(getattr(row.sums, name) for row in rows) for name in names})


async def _try(work: Callable[[], Awaitable[object]]) -> None:
    try:
        await work()
    except Unavailable as error:
        logger.info("the ledger waits for the database: %s", error)
    except Exception:
        logger.exception("the ledger's housekeeping failed")


def _settle(batch: Sequence[_Waiting], error: Exception | None) -> None:
    for _, future in batch:
        if future.done():
            continue
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)


def _chunks(file: BinaryIO) -> Iterator[list[bytes]]:
    while chunk := list(itertools.islice(file, _BATCH)):
        yield complete_lines(chunk)


def _parse(line: bytes) -> Row | None:
    try:
        return to_row(from_row(orjson.loads(line)))
    except (ValueError, TypeError, KeyError):
        return None
