"""A session, its messages, and what may be wrong with a call that names one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from sentinella_plugins.kernel.call import Json
from sentinella_plugins.kernel.errors import Conflict, NotFound, TooLarge


class SessionNotFound(NotFound):
    """There is no such session. `GET /v1/sessions` lists yours."""

    code = "session_not_found"


class SessionBusy(Conflict):
    """Another turn of this session is still running. Retry when it has ended."""

    code = "session_busy"

    def headers(self) -> dict[str, str]:
        return {"retry-after": "1"}


class SessionFull(Conflict):
    """This session is full, and nothing of it is summarised yet. Start a new one, or delete it."""

    code = "session_full"


class TooManySessions(Conflict):
    """This tenant has as many sessions as it may have. Delete some: `DELETE /v1/sessions/{id}`."""

    code = "too_many_sessions"


class MessageTooLarge(TooLarge):
    """A message is larger than a session may keep. Send it without `session_id`, or in parts."""

    code = "session_message_too_large"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a session lies: `owner` is a key's id where every key has its own sessions, else empty."""

    tenant: str
    owner: str
    id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """A session without its messages. `ref` is its own for ever: a session deleted and begun anew has
    another. Messages are numbered from 1 to `last_seq`; `summary` stands for those up to `covered`."""

    place: Place
    ref: str
    version: int
    turns: int
    messages: int
    bytes: int
    last_seq: int
    covered: int
    summary: str | None
    summary_kind: str | None
    summary_tokens: int
    system: tuple[Json, ...]
    created_at: float
    updated_at: float

    @property
    def uncovered(self) -> int:
        return self.last_seq - self.covered


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A message to be kept; `text` is its JSON. `model` is the one that said it."""

    role: str
    text: str
    tokens: int
    bytes: int
    model: str | None = None


class Message(NamedTuple):
    """A message that is kept. `turn` is the id of the call it came with. A tuple, because a session has many
    and a turn must not wait for them to be made."""

    seq: int
    role: str
    body: Json
    tokens: int
    bytes: int
    turn: str = ""
    model: str | None = None
    at: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """What one call adds to its session. `ref` is `None` when it is the first one. `system` replaces the
    session's system messages unless it is `None`."""

    place: Place
    ref: str | None
    call_id: str
    at: float
    entries: tuple[Entry, ...]
    system: tuple[Json, ...] | None = None


@dataclass(frozen=True, slots=True)
class Seat:
    """The right of one call to be the session's running turn. `head` is `None` for a new session."""

    place: Place
    holder: str
    head: Head | None


@dataclass(frozen=True, slots=True)
class Said:
    """The messages of a call, taken apart. `system` holds its system and developer messages."""

    system: tuple[Json, ...]
    turn: tuple[Json, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Remembered:
    """The room's note for the way back. `tail` is the history that was read, oldest first."""

    seat: Seat
    said: Said
    tail: tuple[Message, ...]
    user: str | None = None
