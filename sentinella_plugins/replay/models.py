"""What a call may find when it knocks, and what may be wrong with its key."""

from __future__ import annotations

from dataclasses import dataclass

from sentinella_plugins.kernel.call import Json
from sentinella_plugins.kernel.errors import Conflict, Unprocessable


class KeyReused(Unprocessable):
    """This `Idempotency-Key` came before with another request. Use a new key for every new request."""

    code = "idempotency_key_reused"


class InProgress(Conflict):
    """The first call with this `Idempotency-Key` is still running. Retry later with the same key."""

    code = "idempotency_in_progress"

    def headers(self) -> dict[str, str]:
        return {"retry-after": "1"}


@dataclass(frozen=True, slots=True)
class Claim:
    """A tenant's key, taken by one call (`owner` is its id). `key` and `fingerprint` are SHA-256."""

    tenant: str
    key: str
    fingerprint: str
    owner: str

    @property
    def place(self) -> tuple[str, str]:
        return self.tenant, self.key


@dataclass(frozen=True, slots=True)
class Fresh:
    """To be run. `claim` is `None` when no key guards it."""

    claim: Claim | None = None


@dataclass(frozen=True, slots=True)
class Replayed:
    body: Json


@dataclass(frozen=True, slots=True)
class Busy:
    """Another call with this key is running."""


Found = Fresh | Replayed | Busy
