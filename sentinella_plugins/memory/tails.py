"""What a worker remembers of histories: bounded, and true only of the version that was read."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from sentinella_plugins.memory.models import Head, Message


@dataclass(frozen=True, slots=True)
class _Kept:
    version: int
    messages: tuple[Message, ...]
    bytes: int


class Tails:
    def __init__(self, max_sessions: int, max_bytes: int) -> None:
        self._max_sessions = max_sessions
        self._max_bytes = max_bytes
        self._bytes = 0
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, head: Head) -> tuple[Message, ...] | None:
        found = self._kept.get(head.ref)
        if found is None or found.version != head.version:
            return None
        self._kept.move_to_end(head.ref)
        return found.messages

    def put(self, head: Head, messages: tuple[Message, ...]) -> None:
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
