from __future__ import annotations

from dataclasses import dataclass
from secrets import token_hex

import orjson

from ..exchange import Answer, Ask, Finish, Json, ToolCall, Usage, fields
from .base import EVENT_STREAM, required, required_items, typed, whole_number
from .openai_chat import ANY_OBJECT, choice_of, tool_call, tools_of, turns_of

STOPS = {
    "stop": "COMPLETE",
    "length": "MAX_TOKENS",
    "tool_calls": "TOOL_CALL",
    "content_filter": "ERROR_TOXIC",
}
JSON_LINES = b"application/stream+json"
PLAN = "I will ask the tool."


@dataclass(frozen=True, slots=True)
class CohereChat:
    """Version 2. Streams server-sent events, or a JSON object per line to who accepts only JSON."""

    lines: bool = False

    @property
    def media(self) -> bytes:
        return JSON_LINES if self.lines else EVENT_STREAM

    def read(self, body: Json) -> Ask:
        wanted = fields(body.get("response_format"))
        schema = fields(wanted.get("json_schema") or wanted.get("schema")) or ANY_OBJECT
        return Ask(
            model=required(body, "model"),
            turns=turns_of(required_items(body, "messages")),
            stream=body.get("stream") is True,
            tools=tools_of(body.get("tools")),
            tool_choice=choice_of(body.get("tool_choice")).lower(),
            max_tokens=whole_number(body, "max_tokens"),
            schema=schema if wanted.get("type") == "json_object" else None,
        )

    def whole(self, ask: Ask, answer: Answer) -> Json:
        message: Json = {"role": "assistant"}
        if answer.pieces:
            message["content"] = [{"type": "text", "text": answer.text}]
        if answer.calls:
            message |= {"tool_plan": PLAN, "tool_calls": [tool_call(c) for c in answer.calls]}
        return {
            "id": token_hex(16),
            "finish_reason": STOPS[answer.finish],
            "message": message,
            "usage": _usage(answer.usage_for(ask, len(answer.pieces))),
        }

    def encoder(self, ask: Ask) -> CohereEncoder:
        return CohereEncoder(lines=self.lines)


class CohereEncoder:
    def __init__(self, *, lines: bool) -> None:
        self._lines = lines
        self._talking = False
        self._last: Json = {}

    def open(self) -> bytes:
        message = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
        return self._event("message-start", id=token_hex(16), delta={"message": message})

    def text(self, piece: str) -> bytes:
        opening = b"" if self._talking else self._start_text()
        self._talking = True
        return opening + self._event("content-delta", index=0, delta=_content({"text": piece}))

    def call(self, index: int, call: ToolCall) -> bytes:
        opening = tool_call(call)
        opening["function"] = {"name": call.name, "arguments": ""}
        arguments = {"function": {"arguments": call.arguments_text}}
        delta = _calls(arguments) | {"tool_calls": [_flat(call)]}
        return (
            self._event("tool-call-start", index=index, delta=_calls(opening))
            + self._event("tool-call-delta", index=index, delta=delta)
            + self._event("tool-call-end", index=index)
        )

    def close(self, finish: Finish, usage: Usage) -> bytes:
        delta = {"finish_reason": STOPS[finish], "usage": _usage(usage)}
        self._last = {"delta": delta, "event": "message-end", "data": {"delta": delta}}
        return self._event("content-end", index=0) if self._talking else b""

    def end(self) -> bytes:
        return self._event("message-end", **self._last)

    def _start_text(self) -> bytes:
        return self._event("content-start", index=0, delta=_content({"type": "text", "text": ""}))

    def _event(self, kind: str, **values: object) -> bytes:
        body = {"type": kind, **values}
        return orjson.dumps(body) + b"\n" if self._lines else typed(body)


def _content(content: Json) -> Json:
    return {"message": {"content": content}}


def _calls(call: Json) -> Json:
    return {"message": {"tool_calls": call}}


def _flat(call: ToolCall) -> Json:
    return {"id": call.id, "name": call.name, "arguments": call.arguments_text}


def _usage(usage: Usage) -> Json:
    counted = {"input_tokens": usage.prompt, "output_tokens": usage.completion}
    return {"billed_units": counted, "tokens": counted, "cached_tokens": usage.cached}
