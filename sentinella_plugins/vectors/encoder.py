"""A local model behind a bounded queue and a thread of its own."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from sentinella_plugins.kernel.errors import SentinellaError, Unavailable
from sentinella_plugins.vectors.memo import Memo
from sentinella_plugins.vectors.models import Encoding

logger = logging.getLogger(__name__)
_SLICE = 32
"""Of a longer list so many texts wait at a time, so that it does not keep out the others."""


class Model(Protocol):
    """Called by one thread at a time."""

    @property
    def name(self) -> str: ...

    @property
    def dimensions(self) -> int: ...

    def encode(self, texts: Sequence[str]) -> Sequence[Encoding]: ...


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    text: str
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Encoding]

    def settle(self, result: Encoding | SentinellaError) -> None:
        with suppress(RuntimeError):  # its loop is closed
            self.loop.call_soon_threadsafe(_settle, self.future, result)


class LocalEncoder:
    """`open` loads the model. Texts that wait while a batch runs are the next batch; a text whose caller has
    gone is not encoded."""

    def __init__(
        self,
        load: Callable[[], Model],
        *,
        max_batch: int = 32,
        max_wait_s: float = 0.0,
        max_queue: int = 1_000,
        timeout_s: float = 5.0,
        memo_bytes: int = 6_000_000,
    ) -> None:
        self._load = load
        self._model: Model | None = None
        self._max_batch = max_batch
        self._max_wait_s = max_wait_s
        self._max_queue = max_queue
        self._timeout_s = timeout_s
        self._memo = Memo(memo_bytes)
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._turn = threading.Lock()
        self._closed = False

    @property
    def name(self) -> str:
        return self._opened().name

    @property
    def dimensions(self) -> int:
        return self._opened().dimensions

    async def open(self) -> None:
        """Raises what loading the model does."""
        if self._thread is None:
            self._model = await asyncio.to_thread(self._load)
            self._thread = threading.Thread(target=self._run, name="sentinella-encoder", daemon=True)
            self._thread.start()

    async def close(self) -> None:
        """The running batch is the last one: `Unavailable` is told to those that wait."""
        if self._thread is not None and not self._closed:
            self._closed = True
            self._queue.put(None)
            await asyncio.to_thread(self._thread.join)

    async def encode(self, texts: Sequence[str]) -> Sequence[Encoding]:
        slices = (texts[start : start + _SLICE] for start in range(0, len(texts), _SLICE))
        return [encoding for some in slices for encoding in await self._encode(some)]

    def encode_here(self, text: str) -> Encoding | None:
        """In the calling thread; `None` when the model is busy, closed or fails: then `encode` tells."""
        known = self._memo.get(text)
        if known is not None or self._closed or not self._turn.acquire(blocking=False):
            return known
        try:
            (made,) = self._opened().encode([text])
        except Exception:
            return None
        finally:
            self._turn.release()
        self._memo.put(made)
        return made

    async def _encode(self, texts: Sequence[str]) -> list[Encoding]:
        found = {text: encoding for text in texts if (encoding := self._memo.get(text)) is not None}
        if missing := [text for text in dict.fromkeys(texts) if text not in found]:
            found |= await self._ask(missing)
        return [found[text] for text in texts]

    async def _ask(self, texts: Sequence[str]) -> dict[str, Encoding]:
        jobs = self._put(texts)
        try:
            async with asyncio.timeout(self._timeout_s):
                return {job.text: await job.future for job in jobs}
        except TimeoutError:
            raise Unavailable("The encoder did not answer in time. Retry shortly.") from None
        finally:
            for job in jobs:
                job.future.cancel()
                if not job.future.cancelled():
                    job.future.exception()  # was told to one of them already

    def _put(self, texts: Sequence[str]) -> list[_Job]:
        if self._thread is None or self._closed:
            raise Unavailable("The encoder is closed.")
        waiting = self._queue.qsize()
        if waiting and waiting + len(texts) > self._max_queue:
            raise Unavailable("Too many texts wait for the encoder. Retry shortly.")
        loop = asyncio.get_running_loop()
        jobs = [_Job(text, loop, loop.create_future()) for text in texts]
        for job in jobs:
            self._queue.put(job)
        return jobs

    def _run(self) -> None:
        while not self._closed and (job := self._queue.get()) is not None:
            self._encode_batch(self._batch(job))
        with suppress(queue.Empty):
            while True:
                if (left := self._queue.get_nowait()) is not None:
                    left.settle(Unavailable("The encoder is closed."))

    def _batch(self, first: _Job) -> list[_Job]:
        batch, until = [first], time.monotonic() + self._max_wait_s
        with suppress(queue.Empty):
            while len(batch) < self._max_batch:
                job = self._next(until)
                if job is None:
                    break
                batch.append(job)
        return batch

    def _next(self, until: float) -> _Job | None:
        """Raises `Empty` when nothing comes in time."""
        left = until - time.monotonic() if self._max_wait_s else 0.0
        return self._queue.get(timeout=left) if left > 0 else self._queue.get_nowait()

    def _encode_batch(self, batch: Sequence[_Job]) -> None:
        wanted = [job for job in batch if not job.future.done()]
        if self._closed:
            for job in wanted:
                job.settle(Unavailable("The encoder is closed."))
            return
        missing = [text for text in dict.fromkeys(job.text for job in wanted) if self._memo.get(text) is None]
        try:
            made = {encoding.text: encoding for encoding in self._made(missing)}
        except Exception as error:
            logger.warning("the encoder failed", exc_info=True)
            for job in wanted:
                job.settle(Unavailable(f"The encoder failed: {type(error).__name__}."))
            return
        for encoding in made.values():
            self._memo.put(encoding)
        for job in wanted:
            job.settle(made.get(job.text) or self._memo.get(job.text) or Unavailable())

    def _made(self, texts: Sequence[str]) -> Sequence[Encoding]:
        with self._turn:
            return self._opened().encode(texts) if texts else ()

    def _opened(self) -> Model:
        if self._model is None:
            raise Unavailable("The encoder is not open.")
        return self._model


def _settle(future: asyncio.Future[Encoding], result: Encoding | SentinellaError) -> None:
    if future.done():
        return
    if isinstance(result, SentinellaError):
        future.set_exception(result)
    else:
        future.set_result(result)
