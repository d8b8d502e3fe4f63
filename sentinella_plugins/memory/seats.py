"""One turn of a session at a time: in line within a worker, by a lease between workers."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Hashable

from sentinella_plugins.kernel.clock import Clock
from sentinella_plugins.memory.config import MemoryConfig
from sentinella_plugins.memory.models import Place, Seat, SessionBusy
from sentinella_plugins.memory.store import SessionStore

_LONGEST_PAUSE_S = 0.25


class Line:
    """First come, first served."""

    def __init__(self, max_waiting: int) -> None:
        self._max_waiting = max_waiting
        self._waiting: dict[Hashable, deque[asyncio.Future[None]]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    async def join(self, key: Hashable, timeout_s: float) -> bool:
        """`False` when it took too long or too many wait. Who was let in must `leave`."""
        queue = self._waiting.get(key)
        if queue is None:
            self._waiting[key] = deque()
            return True
        if len(queue) >= self._max_waiting:
            return False
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(place)
        try:
            await asyncio.wait((place,), timeout=timeout_s)
        except asyncio.CancelledError:
            self._give_up(key, place)
            raise
        if place.done():
            return True
        self._give_up(key, place)
        return False

    def leave(self, key: Hashable) -> None:
        queue = self._waiting[key]
        if queue:
            queue.popleft().set_result(None)
        else:
            del self._waiting[key]

    def _give_up(self, key: Hashable, place: asyncio.Future[None]) -> None:
        if place.done():
            self.leave(key)
        else:
            self._waiting[key].remove(place)


class Seats:
    def __init__(self, store: SessionStore, clock: Clock, config: MemoryConfig) -> None:
        self._store = store
        self._clock = clock
        self._config = config
        self._line = Line(config.max_waiting)
        self._held: dict[str, Place] = {}

    async def take(self, place: Place, holder: str) -> Seat:
        """Waits at most `wait_s`, then `SessionBusy`. What is taken must be freed."""
        deadline = self._clock.monotonic() + self._config.wait_s
        if not await self._line.join(place, self._config.wait_s):
            raise SessionBusy
        try:
            return await self._lease(place, holder, deadline)
        except BaseException as error:
            if not isinstance(error, SessionBusy):  # it may have been granted in the last moment
                self._store.post_release(place, holder)
            self._line.leave(place)
            raise

    def free(self, seat: Seat, *, saved: bool = False) -> None:
        """Once or more. Saving a turn ends its lease as well."""
        if self._held.pop(seat.holder, None) is None:
            return
        if not saved:
            self._store.post_release(seat.place, seat.holder)
        self._line.leave(seat.place)

    async def beat(self) -> None:
        held = [(place, holder) for holder, place in self._held.items()]
        await self._store.beat(held, self._clock.now() + self._config.lease_s)

    async def _lease(self, place: Place, holder: str, deadline: float) -> Seat:
        pause = self._config.poll_s
        while True:
            now = self._clock.now()
            taken = await self._store.take(place, holder, now, now + self._config.lease_s)
            if taken.granted:
                self._held[holder] = place
                return Seat(place, holder, taken.head)
            left = deadline - self._clock.monotonic()
            if left <= 0:
                raise SessionBusy
            await asyncio.sleep(min(pause, left))
            pause = min(2 * pause, _LONGEST_PAUSE_S)
