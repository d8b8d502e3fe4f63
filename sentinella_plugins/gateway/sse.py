"""Server-sent events as providers really send them: any line ending, comments, split anywhere."""

from __future__ import annotations

import orjson

from sentinella_plugins.kernel.errors import UpstreamFailed

DONE = b"[DONE]"


class Malformed(UpstreamFailed):
    """The model's provider sent something that is not an answer."""


class Events:
    """Feed it bytes, get the data of the events that are complete. One event has at most `limit` bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._rest = b""
        self._cr = False
        self.done = False

    def feed(self, data: bytes) -> list[bytes]:
        if self._cr and data.startswith(b"\n"):
            data = data[1:]
        self._cr = data.endswith(b"\r") if data else self._cr
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *complete, self._rest = (self._rest + data).split(b"\n\n")
        if len(self._rest) > self._limit:
            raise Malformed("An event of the model's stream is too long.", code="upstream_malformed")
        found = [payload for event in complete if (payload := _payload(event))]
        return self._until_done(found)

    def end(self) -> list[bytes]:
        """What the last event lacked was its blank line."""
        payload, self._rest = _payload(self._rest), b""
        return self._until_done([payload] if payload else [])

    def _until_done(self, found: list[bytes]) -> list[bytes]:
        if DONE not in found:
            return found
        self.done = True
        return found[: found.index(DONE)]


def _payload(event: bytes) -> bytes:
    lines = [line[5:].strip() for line in event.split(b"\n") if line.startswith(b"data:")]
    return b"\n".join(lines) if lines else b""


def parse(payload: bytes) -> dict[str, object]:
    """The JSON object of one event or body; `Malformed` when it is none."""
    try:
        value = orjson.loads(payload)
    except orjson.JSONDecodeError:
        raise Malformed("The model's provider sent malformed JSON.", code="upstream_malformed") from None
    if not isinstance(value, dict):
        raise Malformed("The model's provider sent JSON that is no object.", code="upstream_malformed")
    return value
