"""Counters of one process, gone when it ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sentinella_plugins.kernel.clock import Clock
from sentinella_plugins.storage.arithmetic import (
    UNBEATEN_S,
    Books,
    Bucket,
    check,
    check_counted,
    is_forgotten,
)
from sentinella_plugins.storage.protocols import Claim, Reservation, Verdict


class MemoryCounters:
    """The in-memory twin of `SqlCounters` and `RedisCounters`, for tests and for a single worker."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._books = Books()
        self._made_at: dict[str, float] = {}
        self._leases: dict[str, float] = {}

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def healthy(self) -> bool:
        return True

    async def reserve(self, reservation: Reservation) -> Verdict:
        check(reservation)
        verdict = self._books.reserve(reservation)
        if verdict.granted:
            self._made_at[reservation.id] = self._clock.now()
        return verdict

    async def count(self, claims: Sequence[Claim]) -> Verdict:
        check_counted(claims)
        return self._books.count(claims)

    async def settle(self, reservation_id: str, actual: Mapping[str, int]) -> bool:
        self._made_at.pop(reservation_id, None)
        return self._books.settle(reservation_id, actual, self._clock.now())

    async def release(self, reservation_id: str) -> bool:
        self._made_at.pop(reservation_id, None)
        return self._books.settle(reservation_id, None, self._clock.now())

    async def read(self, keys: Sequence[str]) -> Mapping[str, int]:
        return {key: self._books.used(key) for key in keys}

    async def beat(self, owner: str, until: float) -> None:
        self._leases[owner] = until

    async def reap(self, now: float, limit: int = 100) -> Sequence[Reservation]:
        dead = [held for held in self._books.held.values() if self._is_dead(held, now)][:limit]
        for reservation in dead:
            await self.release(reservation.id)
        self._forget(now)
        return dead

    def _is_dead(self, held: Reservation, now: float) -> bool:
        return self._leases.get(held.owner, self._made_at[held.id] + UNBEATEN_S) <= now

    def _forget(self, now: float) -> None:
        buckets = self._books.buckets
        for key in [key for key, bucket in buckets.items() if _is_over(bucket, now)]:
            del buckets[key]
        owners = {held.owner for held in self._books.held.values()}
        for owner in [owner for owner, until in self._leases.items() if until <= now and owner not in owners]:
            del self._leases[owner]


def _is_over(bucket: Bucket, now: float) -> bool:
    return is_forgotten(bucket.expires_at, now) or (bucket.expires_at is None and bucket.value == 0)
