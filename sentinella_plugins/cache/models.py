"""What a call leaves itself for the way back, what the cache asks of others, and what can go wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from sentinella_plugins.kernel.errors import SentinellaError
from sentinella_plugins.kernel.flights import Leader
from sentinella_plugins.storage.entries import Entry
from sentinella_plugins.vectors.models import Encoder, Encoding, Vector

Mode = Literal["default", "bypass", "refresh", "only"]


class CacheMiss(SentinellaError):
    """Only a kept answer was wanted, and there is none. Leave out `cache.mode: only` or `only-if-cached`."""

    status = 504
    code = "cache_miss"
    type = "invalid_request_error"


@dataclass(frozen=True, slots=True)
class Keys:
    """`exact` and `scope` are SHA-256: of the whole request, and of all but the last user turn. `question` is
    that turn's text without its courtesies, empty when there is none or it is more than text."""

    exact: str
    scope: str
    question: str

    @property
    def entry_id(self) -> str:
        return f"ce_{self.exact[:40]}"


@dataclass(frozen=True, slots=True)
class Wish:
    """What a request asks of the cache. `max_age_s` is that of `Cache-Control`."""

    mode: Mode = "default"
    threshold: float | None = None
    ttl_s: float | None = None
    max_age_s: float | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Eligible:
    """`bypass` is why a call is passed by altogether, `exact_only` why no similar question may answer it."""

    bypass: str | None = None
    exact_only: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """A kept question that is near enough: `confidence` is the probability that its answer fits."""

    entry_id: str
    similarity: float
    score: float
    confidence: float
    guard: str | None = None


@dataclass(frozen=True, slots=True)
class Given:
    """A semantic hit that is about to be served."""

    entry: Entry
    found: Found


@dataclass(frozen=True, slots=True, eq=False)
class Keeping:
    """On the way out: where the answer belongs. `near` was found but not trusted."""

    keys: Keys
    wish: Wish
    semantic: bool
    encoding: Encoding | None = None
    leader: Leader | None = None
    near: Found | None = None


@dataclass(frozen=True, slots=True)
class Checked:
    """One comparison with a fresh answer. `weight` is how many hits it stands for, 0 when the kept answer was
    not served; `hits` are the semantic hits of this worker since its last served check, without those that
    should have been checked and could not be."""

    tenant: str
    entry: str
    score: float
    ok: bool
    weight: float
    hits: int
    at: float


@dataclass(frozen=True, slots=True)
class ErrorEstimate:
    """`rate` with its 95 % interval, from `checked` hits of which `wrong` were so; `None` before the
    first."""

    checked: int
    wrong: int
    rate: float | None
    low: float | None
    high: float | None
    bar: float


@dataclass(frozen=True, slots=True)
class Stats:
    entries: int
    bytes: int
    hits_exact: int
    hits_semantic: int
    misses: int
    bypassed: Mapping[str, int]
    saved_nano: int
    errors: ErrorEstimate
    lag_s: float
    indexed: int
    connected: bool = True
    not_kept: Mapping[str, int] = field(default_factory=dict)

    @property
    def hit_rate(self) -> float:
        hits = self.hits_exact + self.hits_semantic
        return hits / (hits + self.misses) if hits + self.misses else 0.0


class Verdict(Protocol):
    @property
    def score(self) -> float: ...

    @property
    def guard(self) -> str | None: ...


class Judge(Protocol):
    """Whether a kept answer answers what is asked; about a millisecond of CPU."""

    @property
    def serve(self) -> float:
        """The least score that is served while nothing was learned yet."""
        ...

    def judge(self, asked: Encoding, kept: Encoding) -> Verdict: ...


Partition = tuple[str, str]
"""Tenant and scope: what is nearest is looked for in one of them only."""


class Index(Protocol):
    def add(self, partition: Partition, entry_id: str, vector: Vector) -> None:
        """Replaces the vector of the same id."""
        ...

    def remove(self, partition: Partition, entry_id: str) -> bool: ...

    def holds(self, partition: Partition, entry_id: str) -> bool:
        """From any thread, at any time."""
        ...

    def search(self, partition: Partition, vector: Vector, k: int) -> Sequence[tuple[str, float]]:
        """(id, cosine), nearest first."""
        ...

    def clear(self) -> None: ...

    def items(self) -> Iterable[tuple[Partition, str, Vector]]: ...

    def tidy(self) -> bool:
        """A few milliseconds of work that makes it quicker; `False` when there is none."""
        ...

    def __len__(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Meaning:
    """What the semantic layer works with."""

    index: Index
    encoder: Encoder
    judge: Judge
