"""Answers that are kept to be given again, shared by all workers: what every backend promises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol, Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """`question` and `vector` (little-endian float16, made by `encoder`) are empty when only the very same
    request may find it. Times in Unix seconds, `cost` in nano-dollars."""

    tenant: str
    id: str
    scope: str
    body: bytes
    checksum: str
    model: str
    created_at: float
    expires_at: float
    question: str = ""
    vector: bytes = b""
    encoder: str = ""
    provider: str = ""
    cost: int = 0
    tags: tuple[str, ...] = ()
    bytes: int = 0
    """What it takes of a tenant's share; set by whoever makes it, so that an outline knows it too."""

    def outline(self) -> Self:
        """Without its body."""
        return replace(self, body=b"")


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """Entries that fit all that is given; nothing given is every entry."""

    model: str | None = None
    tag: str | None = None
    created_before: float | None = None

    def fits(self, entry: Entry) -> bool:
        return (
            (self.model is None or entry.model == self.model)
            and (self.tag is None or self.tag in entry.tags)
            and (self.created_before is None or entry.created_at < self.created_before)
        )


@dataclass(frozen=True, slots=True)
class Size:
    entries: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    kind: Literal["put", "drop"]
    tenant: str
    id: str
    scope: str
    at: float


@dataclass(frozen=True, slots=True)
class News:
    """`lost`: changes after the given position are not known any more; `changes` is empty then, and
    `position` is where to go on after reading everything anew."""

    changes: Sequence[Change]
    position: str
    lost: bool = False


class Entries(Protocol):
    """Every method names its tenant, apart from those that follow or clear up for all of them. What the store
    cannot do is `Unavailable`."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def put(self, entries: Sequence[Entry]) -> None:
        """Replaces those with the same tenant and id, in any order."""
        ...

    async def get(self, tenant: str, entry_id: str) -> Entry | None:
        """Expired ones too, as long as they are there."""
        ...

    async def outlines(self, tenant: str, ids: Sequence[str]) -> Sequence[Entry]:
        """Those that exist, without their bodies."""
        ...

    async def drop(self, tenant: str, ids: Sequence[str]) -> int:
        """How many existed."""
        ...

    async def find(self, tenant: str, match: Match, limit: int) -> Sequence[str]:
        """Ids, oldest first."""
        ...

    async def page(self, tenant: str, after: str | None, limit: int) -> Sequence[Entry]:
        """Outlines by id, those after `after`."""
        ...

    async def walk(self, after: tuple[str, str] | None, limit: int) -> Sequence[Entry]:
        """Outlines of all tenants in some fixed order, those after (tenant, id)."""
        ...

    async def touch(self, used: Mapping[tuple[str, str], float]) -> None:
        """When entries (tenant, id) were used last; what does not exist is passed over."""
        ...

    async def size(self, tenant: str) -> Size: ...

    async def trim(self, now: float, limit: int) -> int:
        """Drops at most `limit` expired entries of all tenants; how many it were."""
        ...

    async def evict(self, tenant: str, most: Size, limit: int) -> int:
        """Drops at most `limit` entries, those unused for longest, until the tenant has at most so much."""
        ...

    async def latest(self) -> str:
        """The position after the newest change."""
        ...

    async def since(self, position: str, limit: int) -> News:
        """Changes after a position, oldest first."""
        ...
