"""Work that waits until calls leave it room."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable

logger = logging.getLogger(__name__)
_LULL_S = 0.02
"""After a call that has passed: a client that asks one thing after the other asks sooner."""

Work = Callable[[], Awaitable[None]]


class Background:
    """Runs what waits, the oldest first: `most` at once, each after `wait_s` seconds and then, for at most as
    long again, in a moment without calls."""

    def __init__(self, wait_s: float, most: int) -> None:
        self._wait_s = wait_s
        self._most = most
        self._waiting: deque[Work] = deque()
        self._runners: set[asyncio.Task[None]] = set()
        self._passed_at = 0.0

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def passed(self) -> None:
        """A call came by."""
        self._passed_at = asyncio.get_running_loop().time()

    def put(self, work: Work) -> None:
        self._waiting.append(work)
        if len(self._runners) < self._most:
            runner = asyncio.create_task(self._run())
            self._runners.add(runner)
            runner.add_done_callback(self._runners.discard)

    async def settled(self) -> None:
        """Returns when nothing waits or runs."""
        while self._runners:
            await asyncio.wait(self._runners)

    async def close(self) -> None:
        self._waiting.clear()
        for runner in self._runners:
            runner.cancel()
        await asyncio.gather(*self._runners, return_exceptions=True)

    async def _run(self) -> None:
        while self._waiting:
            await self._room()
            if self._waiting:
                try:
                    await self._waiting.popleft()()
                except Exception:
                    logger.exception("work in the background of the cache failed")

    async def _room(self) -> None:
        await asyncio.sleep(self._wait_s)
        loop = asyncio.get_running_loop()
        until = loop.time() + self._wait_s
        while (left := min(until, self._passed_at + _LULL_S) - loop.time()) > 0:
            pause = min(_LULL_S, left)
            await asyncio.sleep(pause)
