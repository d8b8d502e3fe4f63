"""What flows through the house: a `Call` on its way in, a `Reply` or an `Outcome` on its way back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, Self, TypeVar, cast

from sentinella_plugins.kernel.errors import SentinellaError
from sentinella_plugins.kernel.limits import UNLIMITED, Limits
from sentinella_plugins.kernel.money import FREE, Nano, usd_float
from sentinella_plugins.kernel.secrets import Secret

Json = Mapping[str, object]
"""A JSON object as it came over the wire."""

Role = Literal["member", "admin"]
Status = Literal["success", "error", "cancelled", "refused", "abandoned"]
"""`refused`: turned away before any model was asked; `abandoned`: its worker died."""
Note = TypeVar("Note")


@dataclass(frozen=True, kw_only=True, slots=True)
class Principal:
    """Who calls. `models` are shell-style patterns; `None` allows every model."""

    tenant: str
    key_id: str
    key_name: str = ""
    role: Role = "member"
    models: tuple[str, ...] | None = None
    limits: Limits = UNLIMITED


ANONYMOUS = Principal(tenant="", key_id="")


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """Sentinella's own request fields, taken out of the body: none of them ever reaches a provider."""

    session_id: str | None = None
    template: Json | None = None
    tool_execution: Literal["client", "gateway"] = "client"
    routing: Json = field(default_factory=dict)
    cache: Json = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """What a call will use at most, as far as can be known before it."""

    prompt_tokens: int
    completion_tokens: int
    cost: Nano

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """One request on its way in. Stages never change it; they return a changed copy.

    `body` is what a provider may see, without Sentinella's fields, and `given` what it was when the client
    sent it, before rooms put history, templates or tools into it; `requested` is the model that the client
    named and `model` what will be asked (`"auto"` until the router has chosen); `notes` are what rooms leave
    themselves for the way back.
    """

    id: str
    route: str
    requested: str = ""
    model: str
    body: Json
    given: Json = field(default_factory=dict)
    credential: Secret | None = None
    options: Options = Options()
    stream: bool = False
    principal: Principal = ANONYMOUS
    estimate: Estimate | None = None
    received_at: float
    started: float
    headers: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[type, object] = field(default_factory=dict)

    def evolve(self, **changes: object) -> Self:
        return replace(self, **changes)  # type: ignore[arg-type]

    def with_note(self, note: object) -> Self:
        return replace(self, notes={**self.notes, type(note): note})

    def note(self, kind: type[Note]) -> Note | None:
        return cast("Note | None", self.notes.get(kind))


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheMark:
    """What the cache did for a call: `reason` tells why it was passed by, `similarity` is 0..1."""

    status: Literal["hit", "miss", "bypass"]
    kind: Literal["exact", "semantic"] | None = None
    reason: str | None = None
    similarity: float | None = None
    entry_id: str | None = None
    age_s: float | None = None
    saved: Nano = FREE

    def public(self) -> dict[str, object]:
        shown: dict[str, object] = {
            "status": self.status,
            "kind": self.kind,
            "similarity": None if self.similarity is None else round(self.similarity, 4),
            "entry_id": self.entry_id,
        }
        if self.reason:
            shown["reason"] = self.reason
        if self.status == "hit" and self.age_s is not None:
            shown |= {"age_s": round(self.age_s, 1), "saved_usd": usd_float(self.saved)}
        return shown


@dataclass(frozen=True, slots=True)
class Recalled:
    """What memory put before a call: messages word for word, and whether a summary stands for older ones."""

    messages: int
    summarised: bool


@dataclass(frozen=True, slots=True)
class Rendered:
    """The template that a call was made with."""

    template: str
    version: int


@dataclass(frozen=True, slots=True)
class Choice:
    """Why a call goes to its model. `candidates` are names, best first; `ms` is what choosing took."""

    model: str
    reason: str
    candidates: tuple[str, ...] = ()
    task: str | None = None
    complexity: float | None = None
    ms: float = 0.0

    def public(self) -> dict[str, object]:
        return {
            "reason": self.reason,
            "task": self.task,
            "complexity": None if self.complexity is None else round(self.complexity, 3),
            "candidates": list(self.candidates),
        }


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer given before any model was asked."""

    body: Json
    source: str
    mark: CacheMark | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """A note of the room that knows the answer already: no model is chosen for this call, and no money is
    reserved."""

    reply: Reply


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """Tokens that were used; `cached` and `reasoning` are parts of `prompt` and `completion`."""

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    reasoning: int = 0

    @property
    def total(self) -> int:
        return self.prompt + self.completion


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One request to one deployment."""

    model: str
    provider: str
    status: Literal["success", "error", "cancelled"]
    ms: float
    error: str | None = None
    cost: Nano = FREE

    def public(self) -> dict[str, object]:
        return {
            "model": self.model,
            "provider": self.provider,
            "status": self.status,
            "ms": round(self.ms, 1),
            "error": self.error,
            "cost_usd": usd_float(self.cost),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How a call ended. `first_token_ms` and `latency_ms` count from the moment the request arrived."""

    status: Status
    model: str = ""
    provider: str = ""
    usage: Usage = Usage()
    cost: Nano = FREE
    latency_ms: float = 0.0
    first_token_ms: float | None = None
    attempts: tuple[Attempt, ...] = ()
    error: SentinellaError | None = None
    body: Json | None = None
    cached: bool = False
    replayed: bool = False
    """The client asked for this before and got it: nothing is to be kept of it twice."""
    turn: tuple[Json, ...] = ()
    """Messages between the client's and the answer: the model's calls of our tools, and their results."""
