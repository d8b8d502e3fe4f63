"""What is remembered of histories outside the database: bounded, and true only of the version that was read.

A turn begins by taking its session in the database, which tells the session's version: a tail of another one
is not used, whoever wrote it and wherever it lies.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from sentinella_plugins.memory.models import Head, Message

Tail = tuple[Message, ...]


class Tails(Protocol):
    async def get(self, head: Head) -> Tail | None:
        """Of exactly this head."""
        ...

    def put(self, head: Head, messages: Tail) -> None: ...

    def forget(self, ref: str) -> None:
        """In this worker."""
        ...

    async def drop(self, tenant: str, refs: Sequence[str]) -> None:
        """Everywhere: the sessions are deleted."""
        ...

    async def idle(self) -> None:
        """Until nothing that was put is on its way."""
        ...


@dataclass(frozen=True, slots=True)
class _Kept:
    version: int
    messages: Tail
    bytes: int


class OwnTails:
    """In this worker's memory; those used longest ago make room."""

    def __init__(self, max_sessions: int, max_bytes: int) -> None:
        self._max_sessions = max_sessions
        self._max_bytes = max_bytes
        self._bytes = 0
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    async def get(self, head: Head) -> Tail | None:
        found = self._kept.get(head.ref)
        if found is None or found.version != head.version:
            return None
        self._kept.move_to_end(head.ref)
        return found.messages

    def put(self, head: Head, messages: Tail) -> None:
        self.forget(head.ref)
        size = sum(message.bytes for message in messages)
        if size > self._max_bytes:
            return
        self._kept[head.ref] = _Kept(head.version, messages, size)
        self._bytes += size
        while len(self._kept) > self._max_sessions or self._bytes > self._max_bytes:
            self._bytes -= self._kept.popitem(last=False)[1].bytes

    def forget(self, ref: str) -> None:
        found = self._kept.pop(ref, None)
        if found is not None:
            self._bytes -= found.bytes

    async def drop(self, tenant: str, refs: Sequence[str]) -> None:
        for ref in refs:
            self.forget(ref)

    async def idle(self) -> None:
        """Nothing is ever on its way."""
