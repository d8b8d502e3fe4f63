"""The SQL database: many readers, one writer with group commit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar, cast

from sqlalchemy import Connection, text

from sentinella_plugins.kernel.clock import Clock
from sentinella_plugins.kernel.errors import Unavailable
from sentinella_plugins.storage.engine import parse_url, reader_engine, sqlite_file, translated, writer_engine
from sentinella_plugins.storage.migrate import migrate
from sentinella_plugins.storage.writer import Writer

T = TypeVar("T")
Item = TypeVar("Item")


class Database:
    """SQLite or PostgreSQL behind two verbs, `read` and `write`.

    Failures of the store (no connection, no answer within `timeout_s`, a full queue) are `Unavailable`; after
    an outage it works again by itself. SQLAlchemy's `IntegrityError` and whatever `fn` raises pass through.
    """

    def __init__(
        self, url: str, *, pool_size: int = 5, timeout_s: float = 5.0, queue_size: int = 10_000, clock: Clock
    ) -> None:
        self.url = parse_url(url)
        self.clock = clock
        self._timeout_s = timeout_s
        self._queue_size = queue_size
        self._reading = 0
        self._open = False
        file = sqlite_file(self.url)
        self._lock = file and file.with_name(f"{file.name}.lock")
        self._readers = reader_engine(self.url, pool_size=pool_size, timeout_s=timeout_s)
        self._writes = writer_engine(self.url, timeout_s=timeout_s)
        self._threads = ThreadPoolExecutor(pool_size, thread_name_prefix="sentinella-reader")
        self._writer = Writer(self._writes, lock=self._lock, timeout_s=timeout_s, queue_size=queue_size)

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self.url.get_backend_name()

    async def open(self) -> None:
        await asyncio.to_thread(self.open_blocking)

    def open_blocking(self) -> None:
        """Makes the folder, migrates, starts the writer. What was closed cannot be opened again."""
        if self._open:
            return
        if self._lock is not None:
            with suppress(OSError):  # the lock, which lies inside, tells what is wrong
                self._lock.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with translated():
            migrate(self._writes, self._lock)
        self._writer.start()
        self._open = True

    async def read(self, fn: Callable[[Connection], T]) -> T:
        """Runs `fn` in a thread, in one read-only transaction."""
        if not self._open or self._reading >= self._queue_size:
            raise Unavailable("The database is closed or too many reads wait for it. Retry shortly.")
        self._reading += 1
        future = asyncio.get_running_loop().run_in_executor(self._threads, self._read, fn)
        future.add_done_callback(self._has_read)
        return await self._answer(future)

    async def write(self, fn: Callable[[Connection], T]) -> T:
        """Runs `fn` in the writer's thread and returns once its transaction is committed.

        The transaction is shared with other writes. If one fails, all are rolled back and run again one by
        one: `fn` may run twice, so it may have no effects outside the connection. A write that is cancelled
        before its turn is dropped; after a timeout or a lost connection it is unknown whether it was done.
        """

        def alone(connection: Connection, _items: Sequence[None]) -> Sequence[T]:
            return [fn(connection)]

        return await self._answer(self._put(alone, None))

    async def write_grouped(
        self, handler: Callable[[Connection, Sequence[Item]], Sequence[T | Exception]], item: Item
    ) -> T:
        """Like `write`, but `handler` gets all items that wait for it in one call, in order of arrival, and
        returns one result for each; a result that is an exception is raised to its caller alone."""
        return await self._answer(self._put(handler, item))

    def post_grouped(
        self, handler: Callable[[Connection, Sequence[Item]], Sequence[object]], item: Item
    ) -> None:
        """`write_grouped` after everything that waits already, without learning how it went."""
        self._put(handler, item).add_done_callback(_forget)

    async def healthy(self) -> bool:
        try:
            return await self.read(lambda connection: connection.scalar(text("SELECT 1")) == 1)
        except Unavailable:
            return False

    async def close(self) -> None:
        """Writes what waits, then lets go of threads and connections."""
        await asyncio.to_thread(self.close_blocking)

    def close_blocking(self) -> None:
        self._open = False
        self._writer.close()
        self._threads.shutdown()
        self._readers.dispose()
        self._writes.dispose()

    def _put(
        self, handler: Callable[[Connection, Sequence[Item]], Sequence[T | Exception]], item: Item
    ) -> asyncio.Future[T]:
        if not self._open:
            raise Unavailable("The database is closed.")
        return cast("asyncio.Future[T]", self._writer.put(handler, item))

    async def _answer(self, future: asyncio.Future[T]) -> T:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await future
        except TimeoutError as error:
            raise Unavailable("The database did not answer in time. Retry shortly.") from error

    def _read(self, fn: Callable[[Connection], T]) -> T:
        with translated(), self._readers.connect() as connection:
            return fn(connection)

    def _has_read(self, _future: asyncio.Future[T]) -> None:
        self._reading -= 1
        _forget(_future)


def _forget(future: asyncio.Future[T]) -> None:
    if not future.cancelled():
        future.exception()
