"""Keeps reservations true: settles in spite of outages, and clears up after workers that died."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
from collections.abc import Mapping

from sentinella_plugins.kernel.clock import Clock
from sentinella_plugins.kernel.errors import Unavailable
from sentinella_plugins.kernel.events import CallAbandoned, Events
from sentinella_plugins.storage.protocols import Counters, Reservation
from sentinella_plugins.tenancy.config import TenancyConfig
from sentinella_plugins.tenancy.refusals import Refusals

logger = logging.getLogger(__name__)

MOST_UNSETTLED = 100_000
_REAP_AT_ONCE = 100


class Keeper:
    def __init__(
        self, counters: Counters, refusals: Refusals, events: Events, clock: Clock, config: TenancyConfig
    ) -> None:
        self.owner = f"{socket.gethostname()[:32]}:{os.getpid()}:{secrets.token_hex(6)}"
        self._counters = counters
        self._refusals = refusals
        self._events = events
        self._clock = clock
        self._config = config
        self._unsettled: dict[str, Mapping[str, int] | None] = {}
        self._reap_from = 0.0

    async def settle(self, reservation_id: str, actual: Mapping[str, int] | None) -> None:
        """`None` releases. When the store is down it is done once the store is back: this worker lives, so
        nobody else would."""
        try:
            await self._settle(reservation_id, actual)
        except Unavailable as error:
            if len(self._unsettled) >= MOST_UNSETTLED:
                raise
            logger.warning("a call will be settled later: %s", error)
            self._unsettled[reservation_id] = actual

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self.round()
            except Exception:
                # The store was away for everybody: those who live get time to say so before they are reaped.
                self._reap_from = self._clock.now() + self._config.lease_s
                logger.exception(
                    "the heartbeat of the limits failed; the next one is in %s s", self._config.heartbeat_s
                )
            await asyncio.sleep(self._config.heartbeat_s)

    async def round(self) -> None:
        """One heartbeat: still alive, settle what waits, release what the dead held."""
        await self._counters.beat(self.owner, self._clock.now() + self._config.lease_s)
        for reservation_id, actual in list(self._unsettled.items()):
            await self._settle(reservation_id, actual)
            del self._unsettled[reservation_id]
        reaped = _REAP_AT_ONCE if self._clock.now() >= self._reap_from else 0
        while reaped == _REAP_AT_ONCE:
            reaped = await self._reap()

    async def _settle(self, reservation_id: str, actual: Mapping[str, int] | None) -> None:
        if actual is None:
            await self._counters.release(reservation_id)
        else:
            await self._counters.settle(reservation_id, actual)

    async def _reap(self) -> int:
        dead = await self._counters.reap(self._clock.now(), _REAP_AT_ONCE)
        if dead:
            self._refusals.clear()
        for reservation in dead:
            await self._events.publish(_abandoned(reservation, self._clock.now()))
        return len(dead)


def _abandoned(reservation: Reservation, now: float) -> CallAbandoned:
    memo = reservation.memo
    started_at = memo.get("started_at")
    return CallAbandoned(
        at=now,
        tenant=str(memo.get("tenant", "")),
        request_id=str(memo.get("request_id", "")),
        key_id=str(memo.get("key_id", "")),
        route=str(memo.get("route", "")),
        model=str(memo.get("model", "")),
        started_at=started_at if isinstance(started_at, int | float) else now,
    )
