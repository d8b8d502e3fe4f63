"""Reservations as text, for stores that keep text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from sentinella_plugins.storage.protocols import Claim, Reservation


def dump_claims(claims: Sequence[Claim]) -> str:
    return json.dumps([(claim.key, claim.amount, claim.limit, claim.expires_at) for claim in claims])


def dump_memo(memo: Mapping[str, object]) -> str:
    return json.dumps(dict(memo))


def load_reservation(identity: str, owner: str, claims: str, memo: str) -> Reservation:
    return Reservation(
        identity, owner, tuple(Claim(*claim) for claim in json.loads(claims)), json.loads(memo)
    )
