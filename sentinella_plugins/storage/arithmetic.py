"""What reserving and settling do to buckets; shared by every backend that decides in Python."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sentinella_plugins.storage.protocols import Claim, Reservation, Verdict

FORGET_AFTER_S = 60.0
"""An expired bucket stays this long: a reservation that waited for the store must still meet its limit."""

UNBEATEN_S = 60.0
"""How long a reservation lives whose owner never beat."""

LARGEST = 2**53
_KEY_LENGTH = 256
_ID_LENGTH = 64


@dataclass(slots=True)
class Bucket:
    value: int
    expires_at: float | None


@dataclass(frozen=True, slots=True)
class Books:
    """Buckets and open reservations, all of them or those that are needed."""

    buckets: dict[str, Bucket] = field(default_factory=dict)
    held: dict[str, Reservation] = field(default_factory=dict)

    def reserve(self, reservation: Reservation) -> Verdict:
        if reservation.id in self.held:
            raise ValueError(f"reservation `{reservation.id}` is in use")
        verdict = self.count(reservation.claims)
        if verdict.granted:
            self.held[reservation.id] = reservation
        return verdict

    def count(self, claims: Sequence[Claim]) -> Verdict:
        used = [self.used(claim.key) for claim in claims]
        refused = tuple(index for index, claim in enumerate(claims) if not _fits(claim, used[index]))
        if refused:
            return Verdict(tuple(used), refused)
        for claim in claims:
            self.buckets.setdefault(claim.key, Bucket(0, claim.expires_at)).value += claim.amount
        return Verdict(tuple(self.used(claim.key) for claim in claims))

    def settle(self, reservation_id: str, actual: Mapping[str, int] | None, now: float) -> bool:
        """`None` settles every claim with 0. Forgotten buckets stay forgotten."""
        reservation = self.held.pop(reservation_id, None)
        if reservation is None:
            return False
        for claim in reservation.claims:
            if not is_forgotten(claim.expires_at, now):
                self._correct(claim, 0 if actual is None else actual.get(claim.key, claim.amount))
        return True

    def used(self, key: str) -> int:
        bucket = self.buckets.get(key)
        return 0 if bucket is None else bucket.value

    def _correct(self, claim: Claim, amount: int) -> None:
        bucket = self.buckets.setdefault(claim.key, Bucket(0, claim.expires_at))
        bucket.value = max(0, bucket.value + amount - claim.amount)


def is_forgotten(expires_at: float | None, now: float) -> bool:
    return expires_at is not None and expires_at + FORGET_AFTER_S <= now


def check(reservation: Reservation) -> None:
    """`ValueError` for what not every backend could keep."""
    if not _storable((reservation.id, reservation.owner), _ID_LENGTH):
        raise ValueError("ids and owners have 1 to 64 characters; none may be NUL")
    check_claims(reservation.claims)


def check_counted(claims: Sequence[Claim]) -> None:
    """`ValueError` also for a gauge: nobody would bring it down again."""
    check_claims(claims)
    if any(claim.expires_at is None for claim in claims):
        raise ValueError("a gauge must be reserved and settled")


def check_claims(claims: Sequence[Claim]) -> None:
    keys = [claim.key for claim in claims]
    if len(set(keys)) < len(keys):
        raise ValueError("a reservation may claim a bucket only once")
    if not _storable(keys, _KEY_LENGTH):
        raise ValueError("bucket keys have 1 to 256 characters; none may be NUL")
    if any(not 0 <= claim.amount <= LARGEST for claim in claims):
        raise ValueError("amounts are between 0 and 2^53")


def _storable(names: Iterable[str], length: int) -> bool:
    return all(0 < len(name) <= length and "\0" not in name for name in names)


def _fits(claim: Claim, used: int) -> bool:
    return claim.limit is None or used + claim.amount <= claim.limit
