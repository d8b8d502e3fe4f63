"""What a wire format must be able to do."""

from __future__ import annotations

from typing import Protocol

import orjson

from ..exchange import Answer, Ask, BadRequest, Finish, Json, ToolCall, Usage, items

EVENT_STREAM = b"text/event-stream; charset=utf-8"


class Encoder(Protocol):
    """One streamed answer. `close` is everything up to the terminator, `end` is the terminator."""

    def open(self) -> bytes: ...
    def text(self, piece: str) -> bytes: ...
    def call(self, index: int, call: ToolCall) -> bytes: ...
    def close(self, finish: Finish, usage: Usage) -> bytes: ...
    def end(self) -> bytes: ...


class Dialect(Protocol):
    @property
    def media(self) -> bytes: ...
    def read(self, body: Json) -> Ask: ...
    def whole(self, ask: Ask, answer: Answer) -> Json: ...
    def encoder(self, ask: Ask) -> Encoder: ...


def data(value: Json) -> bytes:
    return b"data: " + orjson.dumps(value) + b"\n\n"


def event(name: str, value: Json) -> bytes:
    return b"event: " + name.encode() + b"\n" + data(value)


def typed(value: Json) -> bytes:
    return event(value["type"], value)


def required(body: Json, key: str) -> str:
    value = body.get(key)
    if not isinstance(value, str) or not value:
        raise BadRequest(f"'{key}' is a required string.")
    return value


def required_items(body: Json, key: str) -> list[Json]:
    found = items(body.get(key))
    if not found:
        raise BadRequest(f"'{key}' is a required, non-empty list of objects.")
    return found


def whole_number(body: Json, *keys: str) -> int | None:
    value = next((body[k] for k in keys if body.get(k) is not None), None)
    if value is None:
        return None
    if not isinstance(value, int) or value < 1:
        raise BadRequest(f"'{keys[0]}' must be a positive integer.")
    return value
