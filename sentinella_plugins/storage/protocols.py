"""The few atomic operations behind which every backend stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Claim:
    """`amount` units of one bucket.

    `key` names scope, quantity and window start, so a bucket belongs to one window for ever. `limit` is the
    most the bucket may hold; `None` counts without refusing. 60 s after `expires_at` (Unix seconds) the
    bucket may be forgotten; `None` is a gauge that lives while it is not zero.
    """

    key: str
    amount: int
    limit: int | None
    expires_at: float | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """`used[i]` is what bucket `i` holds now, reservations included; `refused` are the indexes of the claims
    that do not fit. Nothing is reserved unless `refused` is empty."""

    used: tuple[int, ...]
    refused: tuple[int, ...] = ()

    @property
    def granted(self) -> bool:
        return not self.refused


@dataclass(frozen=True, slots=True)
class Reservation:
    """What one call holds until it is settled, each bucket once. `memo` is the reserver's own JSON object."""

    id: str
    owner: str
    claims: tuple[Claim, ...]
    memo: Mapping[str, object] = field(default_factory=dict)


class Counters(Protocol):
    """Reserve before, settle after, release on failure; every method is one atomic step over all buckets."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def healthy(self) -> bool: ...

    async def reserve(self, reservation: Reservation) -> Verdict:
        """All claims or none. A claim fits when used + amount <= limit. `ValueError` for an id in use
        (unless it is refused anyway) and for names, amounts or repeated keys that not every store could keep.
        What a call reserved that was cancelled or ended in `Unavailable` is released again."""
        ...

    async def count(self, claims: Sequence[Claim]) -> Verdict:
        """Reserves and settles in one step: for what is used at once, so that there is nothing to settle or
        reap. `ValueError` as above, and for a gauge. After `Unavailable` it may have been counted."""
        ...

    async def settle(self, reservation_id: str, actual: Mapping[str, int]) -> bool:
        """Replaces reserved amounts by actual ones (by bucket key; an absent key keeps its amount) and
        forgets the reservation. `False`, and no change, when it is unknown, settled or reaped: settling twice
        counts once. A bucket never falls below 0, and one that was forgotten stays so."""
        ...

    async def release(self, reservation_id: str) -> bool:
        """`settle` with 0 for every claim."""
        ...

    async def read(self, keys: Sequence[str]) -> Mapping[str, int]:
        """What the buckets hold; a bucket that does not exist holds 0."""
        ...

    async def beat(self, owner: str, until: float) -> None:
        """This owner (one worker process) is alive until then (Unix seconds)."""
        ...

    async def reap(self, now: float, limit: int = 100) -> Sequence[Reservation]:
        """Releases reservations whose owner's lease has ended (or never began 60 s after the reservation was
        made) and returns them, each to exactly one caller. Also forgets expired buckets, and leases that have
        ended and hold nothing."""
        ...
