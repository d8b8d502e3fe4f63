"""The event streams of the metered routes: what an event means, and how a broken stream is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from sentinella_plugins.api.problems import anthropic_problem, problem
from sentinella_plugins.gateway.metered_request import COMPLETIONS, MESSAGES, RESPONSES
from sentinella_plugins.gateway.wire import sse
from sentinella_plugins.kernel.errors import SentinellaError

_DONE = b"[DONE]"
_FAILED = frozenset({"error", "response.failed"})
_ENDS = frozenset({"response.completed", "response.incomplete", "message_stop"})


@dataclass(frozen=True, slots=True)
class Event:
    """`frame` is what the client gets of it, empty for nothing; `text` is what the model said in it."""

    frame: bytes
    text: str = ""
    says_end: bool = False
    ends: bool = False
    failed: bool = False


class Frames:
    """Feed it bytes, get the events that are complete, with their blank line."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        *complete, self._rest = (self._rest + data).replace(b"\r\n", b"\n").split(b"\n\n")
        return [frame + b"\n\n" for frame in complete if frame.strip()]


def read(route: str, frame: bytes, *, wants_usage: bool) -> Event:
    data = b"".join(line[5:].strip() for line in frame.split(b"\n") if line.startswith(b"data:"))
    if data == _DONE:
        return Event(frame, ends=True)
    try:
        body = orjson.loads(data) if data else None
    except orjson.JSONDecodeError:
        return Event(frame, failed=True)
    if not isinstance(body, dict):
        return Event(frame)
    if body.get("error") or body.get("type") in _FAILED:
        return Event(frame, failed=True)
    return _READERS[route](frame, body, wants_usage)


def _completion(frame: bytes, body: dict[str, Any], wants_usage: bool) -> Event:
    """LiteLLM leaves out fields that OpenAI's clients rely on, and adds usage whether asked or not."""
    if body.get("usage") is not None:
        body["usage"].pop("cost", None)
        body["choices"] = []
        return Event(sse(orjson.dumps(body)) if wants_usage else b"")
    choices = body.get("choices") or []
    for choice in choices:
        for name, absent in (("text", ""), ("logprobs", None), ("finish_reason", None)):
            choice[name] = choice.get(name) or absent
    return Event(
        sse(orjson.dumps(body)),
        text="".join(choice["text"] for choice in choices),
        says_end=any(choice["finish_reason"] for choice in choices),
    )


def _response(frame: bytes, body: dict[str, Any], _: bool) -> Event:
    kind, delta = str(body.get("type")), body.get("delta")
    text = delta if isinstance(delta, str) and kind.endswith(".delta") else ""
    return Event(frame, text=text, says_end=kind in _ENDS, ends=kind in _ENDS)


def _message(frame: bytes, body: dict[str, Any], _: bool) -> Event:
    delta = body.get("delta") or {}
    text = "".join(str(delta.get(name) or "") for name in ("text", "thinking", "partial_json"))
    ends = body.get("type") in _ENDS
    return Event(frame, text=text, says_end=ends or bool(delta.get("stop_reason")), ends=ends)


_READERS: Mapping[str, Callable[[bytes, dict[str, Any], bool], Event]] = {
    COMPLETIONS: _completion,
    RESPONSES: _response,
    MESSAGES: _message,
}
_LAST = {
    COMPLETIONS: sse(_DONE),
    RESPONSES: b"",
    MESSAGES: b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
}


def last_frame(route: str) -> bytes:
    """For a model that said that it was done, on a stream that forgot to."""
    return _LAST[route]


def error_frame(route: str, error: SentinellaError, request_id: str) -> bytes:
    if route == MESSAGES:
        return b"event: error\n" + sse(orjson.dumps(anthropic_problem(error, request_id).body, default=str))
    body = {**problem(error).body, "sentinella": {"request_id": request_id}}
    if route == COMPLETIONS:
        return sse(orjson.dumps(body, default=str))
    flat = {"type": "error", "code": error.code, "message": error.message, "param": None}
    return b"event: error\n" + sse(orjson.dumps({**flat, **body}, default=str))
