"""One thread that writes: what waits together is committed together."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine

from sentinella_plugins.kernel.errors import Unavailable
from sentinella_plugins.storage.engine import file_lock, is_store_failure, translate

BATCH = 512
Handler = Callable[[Connection, Sequence[Any]], Sequence[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """One item for a handler; handlers get all waiting items that are theirs in one call."""

    handler: Handler
    item: Any
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]

    def settle(self, result: object) -> None:
        if self.future.done():
            return
        if isinstance(result, Exception):
            self.future.set_exception(result)
        else:
            self.future.set_result(result)


class Writer:
    """Runs jobs in order of arrival, many to a transaction. `lock` is the side file that queues processes."""

    def __init__(self, engine: Engine, *, lock: Path | None, timeout_s: float, queue_size: int) -> None:
        self._engine = engine
        self._lock = lock
        self._timeout_s = timeout_s
        self._queue_size = queue_size
        self._queue: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._closed = False
        self._kept: Connection | None = None
        self._thread = threading.Thread(target=self._run, name="sentinella-writer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def put(self, handler: Handler, item: object) -> asyncio.Future[Any]:
        """`Unavailable` when too many wait. A future that is cancelled before its turn is never run."""
        if self._closed:
            raise Unavailable("The database is closed.")
        if self._queue.qsize() >= self._queue_size:
            raise Unavailable("Too many writes wait for the database. Retry shortly.")
        loop = asyncio.get_running_loop()
        job = Job(handler, item, loop, loop.create_future())
        self._queue.put(job)
        return job.future

    def close(self) -> None:
        """Everything that waits is written first."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
        if self._thread.is_alive():
            self._thread.join(2 * self._timeout_s)

    def _run(self) -> None:
        job = self._queue.get()
        while job is not None:
            job = self._turn(job)
        _resolve((left, Unavailable("The database is closed.")) for left in self._drain())
        self._let_go()

    def _turn(self, first: Job) -> Job | None:
        """One transaction; returns what comes after it."""
        jobs = [first]
        try:
            with file_lock(self._lock):
                jobs += self._drain()
                results = self._transact([job for job in jobs if not job.future.cancelled()])
        except Exception as error:
            results = _all(jobs, error)
        _resolve(results)
        return None if self._closed and self._queue.empty() else self._queue.get()

    def _drain(self) -> list[Job]:
        jobs: list[Job] = []
        while len(jobs) < BATCH:
            try:
                job = self._queue.get_nowait()
            except queue.Empty:
                break
            if job is not None:
                jobs.append(job)
        return jobs

    def _transact(self, jobs: list[Job]) -> list[tuple[Job, object]]:
        if not jobs:
            return []
        try:
            return self._attempt(jobs)
        except Exception as error:
            if len(jobs) == 1 or _is_lost(error):
                return _all(jobs, error)
        return self._one_by_one(jobs)

    def _one_by_one(self, jobs: list[Job]) -> list[tuple[Job, object]]:
        """So that a failure touches nobody else; a store that hangs holds up the queue only once."""
        results: list[tuple[Job, object]] = []
        deadline = time.monotonic() + self._timeout_s
        for index, job in enumerate(jobs):
            if time.monotonic() > deadline:
                return results + _all(jobs[index:], Unavailable("The database is too slow. Retry shortly."))
            try:
                results += self._attempt([job])
            except Exception as error:
                results.append((job, translate(error)))
        return results

    def _attempt(self, jobs: list[Job]) -> list[tuple[Job, object]]:
        try:
            with self._connect() as connection, connection.begin():
                return [
                    pair for handler, own in _by_handler(jobs) for pair in _handle(connection, handler, own)
                ]
        except Exception as error:
            if is_store_failure(error):
                self._let_go()
            raise

    def _connect(self) -> AbstractContextManager[Connection]:
        """A file does not go away as a server does: its connection is kept, so turns are cheap."""
        if self._lock is None:
            return self._engine.connect()
        self._kept = self._kept or self._engine.connect()
        return nullcontext(self._kept)

    def _let_go(self) -> None:
        if self._kept is not None:
            self._kept.close()
        self._kept = None


def _by_handler(jobs: list[Job]) -> Iterable[tuple[Handler, list[Job]]]:
    groups: dict[Handler, list[Job]] = defaultdict(list)
    for job in jobs:
        groups[job.handler].append(job)
    return groups.items()


def _handle(connection: Connection, handler: Handler, jobs: list[Job]) -> Iterable[tuple[Job, object]]:
    return zip(jobs, handler(connection, [job.item for job in jobs]), strict=True)


def _is_lost(error: Exception) -> bool:
    """Without a connection the whole batch fails: nobody knows whether it was committed."""
    no_connection = is_store_failure(error) and getattr(error, "statement", None) is None
    return no_connection or bool(getattr(error, "connection_invalidated", False))


def _all(jobs: Iterable[Job], error: Exception) -> list[tuple[Job, object]]:
    return [(job, translate(error)) for job in jobs]


def _resolve(results: Iterable[tuple[Job, object]]) -> None:
    loops: dict[asyncio.AbstractEventLoop, list[tuple[Job, object]]] = defaultdict(list)
    for job, result in results:
        loops[job.loop].append((job, result))
    for loop, own in loops.items():
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_settle_all, own)


def _settle_all(results: list[tuple[Job, object]]) -> None:
    for job, result in results:
        job.settle(result)
