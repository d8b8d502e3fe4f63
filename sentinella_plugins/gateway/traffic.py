"""How many calls run in this worker, who waits, and how all of it comes to an end."""

from __future__ import annotations

import asyncio
import signal
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from types import FrameType

from sentinella_plugins.kernel.errors import Unavailable
from sentinella_plugins.settings import TrafficConfig


class Overloaded(Unavailable):
    """This gateway has more calls than it can take. Retry shortly."""

    code = "overloaded"


class Draining(Unavailable):
    """This gateway is shutting down. Retry: another one will answer."""

    code = "shutting_down"


class Traffic:
    """Bounded in running and waiting calls. A place that becomes free goes to the tenants in turn, so that
    one who sends thousands does not keep the others waiting."""

    def __init__(self, config: TrafficConfig) -> None:
        self._config = config
        self._running: set[asyncio.Task[None]] = set()
        self._places = config.max_running
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self._waiters = 0
        self.draining = False

    @asynccontextmanager
    async def turn(self, tenant: str) -> AsyncGenerator[None, None]:
        """A place for one call, waited for at most `max_wait_s`. Raises `Overloaded` or `Draining`."""
        if self.draining:
            raise Draining
        if self._places > 0:
            self._places -= 1
        else:
            await self._wait(tenant)
        task = asyncio.current_task()
        if task is not None:
            self._running.add(task)
        try:
            yield
        finally:
            if task is not None:
                self._running.discard(task)
            self._pass_on()

    def drain(self) -> None:
        """No new calls; those that run may end by themselves, until `drain_s` is over."""
        if not self.draining:
            self.draining = True
            asyncio.get_running_loop().call_later(self._config.drain_s, self._end)

    def drain_on(self, number: signal.Signals) -> None:
        """Drains when the process gets this signal, and then does what was to be done before."""
        loop, before = asyncio.get_running_loop(), signal.getsignal(number)

        def handle(received: int, frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(self.drain)
            if callable(before):
                before(received, frame)

        signal.signal(number, handle)

    async def _wait(self, tenant: str) -> None:
        queue = self._waiting.setdefault(tenant, deque())
        if self._waiters >= self._config.max_waiting or len(queue) >= self._config.max_waiting_per_tenant:
            self._forget_if_empty(tenant)
            raise Overloaded
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(place)
        self._waiters += 1
        try:
            async with asyncio.timeout(self._config.max_wait_s):
                await place
        except TimeoutError:
            raise Overloaded from None
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self._pass_on()
            raise
        finally:
            self._waiters -= 1
            if place in queue:
                queue.remove(place)
            self._forget_if_empty(tenant)

    def _pass_on(self) -> None:
        """To the first of the tenant whose turn it is; that tenant then goes to the end of the line."""
        while self._waiting:
            tenant, queue = self._waiting.popitem(last=False)
            place = queue.popleft() if queue else None
            if queue:
                self._waiting[tenant] = queue
            if place is not None and not place.done():
                place.set_result(None)
                return
        self._places += 1

    def _forget_if_empty(self, tenant: str) -> None:
        if not self._waiting.get(tenant):
            self._waiting.pop(tenant, None)

    def _end(self) -> None:
        for task in self._running:
            task.cancel()
