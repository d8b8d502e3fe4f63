"""What was asked of the demo upstream."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from time import time

from .exchange import Json

KEPT = 2_000
LARGEST_BODY = 256 * 1024
SECRET_HEADERS = frozenset({"authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie"})


@dataclass(slots=True)
class Entry:
    path: str
    provider: str
    model: str
    stream: bool
    headers: Iterable[tuple[bytes, bytes]]
    body: Json
    when: float = field(default_factory=time)
    status: int | None = None
    disconnected: bool = False
    finished: bool = False

    def describe(self) -> Json:
        return {
            "when": self.when,
            "provider": self.provider,
            "path": self.path,
            "model": self.model,
            "stream": self.stream,
            "headers": masked(self.headers),
            "body": self.body,
            "status": self.status,
            "disconnected": self.disconnected,
            "finished": self.finished,
        }


def masked(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    named = ((k.decode("latin-1"), v.decode("latin-1")) for k, v in headers)
    return {k: "***" if k in SECRET_HEADERS else v for k, v in named}


class Journal:
    def __init__(self, *, record: bool = True) -> None:
        self._record = record
        self._entries: deque[Entry] = deque(maxlen=KEPT)
        self._counts: Counter[tuple[str, str]] = Counter()
        self._in_flight = 0

    def open(self, entry: Entry, size: int) -> Entry:
        self._counts[entry.provider, entry.model] += 1
        self._in_flight += 1
        if size > LARGEST_BODY:
            entry.body = {"omitted_bytes": size}
        if self._record:
            self._entries.append(entry)
        return entry

    def close(self, entry: Entry) -> None:
        entry.finished = True
        self._in_flight -= 1

    def clear(self) -> None:
        self._entries.clear()
        self._counts.clear()

    def recent(self, limit: int) -> list[Json]:
        return [e.describe() for e in list(self._entries)[-limit:]] if limit > 0 else []

    def counts(self) -> Json:
        counts = [{"provider": p, "model": m, "requests": n} for (p, m), n in self._counts.items()]
        return {"total": self._counts.total(), "in_flight": self._in_flight, "counts": counts}
