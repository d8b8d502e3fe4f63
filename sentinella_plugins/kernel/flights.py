"""Identical calls that run at the same time in one worker: the first asks, the others wait for its answer."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

from sentinella_plugins.kernel.call import Json


@dataclass(slots=True, eq=False)
class Flight:
    fingerprint: str
    waiting: deque[Follower] = field(default_factory=deque)
    failed: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Leader:
    flight: Flight


@dataclass(frozen=True, slots=True, eq=False)
class Follower:
    """Its future becomes the answer, a `Leader` when it is to ask in the place of one that failed, or `None`
    when it is to ask by itself."""

    flight: Flight
    future: asyncio.Future[Json | Leader | None]


class Flights:
    def __init__(self, max_followers: int) -> None:
        self._max_followers = max_followers
        self._flights: dict[str, Flight] = {}

    def __len__(self) -> int:
        return len(self._flights)

    def join(self, fingerprint: str) -> Leader | Follower | None:
        """`None` when too many wait already. A leader must `land` or `fail`, a follower `wait`."""
        flight = self._flights.get(fingerprint)
        if flight is None:
            self._flights[fingerprint] = flight = Flight(fingerprint)
            return Leader(flight)
        if len(flight.waiting) >= self._max_followers:
            return None
        follower = Follower(flight, asyncio.get_running_loop().create_future())
        flight.waiting.append(follower)
        return follower

    async def wait(self, follower: Follower, timeout_s: float) -> Json | Leader | None:
        """`None` after the timeout too."""
        try:
            async with asyncio.timeout(timeout_s):
                return await follower.future
        except TimeoutError:
            return self._leave(follower)
        except asyncio.CancelledError:
            if isinstance(promoted := self._leave(follower), Leader):
                self.fail(promoted, cancelled=True)
            raise

    def land(self, leader: Leader, body: Json | None) -> None:
        flight = leader.flight
        self._flights.pop(flight.fingerprint, None)
        while flight.waiting:
            _tell(flight.waiting.popleft(), body)

    def fail(self, leader: Leader, *, cancelled: bool) -> None:
        """The next one asks. After a second failure all do: in an outage they would else wait in a row."""
        flight = leader.flight
        if flight.failed and not cancelled:
            return self.land(leader, None)
        flight.failed = flight.failed or not cancelled
        while flight.waiting:
            if _tell(flight.waiting.popleft(), Leader(flight)):
                return
        self._flights.pop(flight.fingerprint, None)

    def _leave(self, follower: Follower) -> Json | Leader | None:
        """What it was told in the last moment, if anything."""
        future = follower.future
        if follower in follower.flight.waiting:
            follower.flight.waiting.remove(follower)
        return future.result() if future.done() and not future.cancelled() else None


def _tell(follower: Follower, answer: Json | Leader | None) -> bool:
    if follower.future.done():
        return False
    follower.future.set_result(answer)
    return True
