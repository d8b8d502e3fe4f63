from __future__ import annotations

from dataclasses import dataclass
from secrets import token_hex
from time import time

from ..exchange import (
    Answer,
    Ask,
    BadRequest,
    Finish,
    Json,
    Tool,
    ToolCall,
    Turn,
    Usage,
    fields,
    items,
    text_of,
)
from .base import EVENT_STREAM, required, typed, whole_number
from .openai_chat import ANY_OBJECT, choice_of, role_of


@dataclass(frozen=True, slots=True)
class OpenAIResponses:
    provider: str
    media: bytes = EVENT_STREAM

    def read(self, body: Json) -> Ask:
        return Ask(
            model=required(body, "model"),
            turns=instructions_of(body) + input_turns(body.get("input")),
            stream=body.get("stream") is True,
            tools=flat_tools(body.get("tools")),
            tool_choice=choice_of(body.get("tool_choice")),
            max_tokens=whole_number(body, "max_output_tokens"),
            schema=format_of(fields(body.get("text")).get("format")),
        )

    def whole(self, ask: Ask, answer: Answer) -> Json:
        output = [function_item(c) for c in answer.calls]
        if answer.pieces:
            output.insert(0, message_item(f"msg_{token_hex(12)}", answer.text))
        return finished(envelope(ask), output, answer.finish, answer.usage_for(ask, len(answer.pieces)))

    def encoder(self, ask: Ask) -> OpenAIResponsesEncoder:
        return OpenAIResponsesEncoder(ask)


class OpenAIResponsesEncoder:
    def __init__(self, ask: Ask) -> None:
        self._envelope = envelope(ask)
        self._message = f"msg_{token_hex(12)}"
        self._texts: list[str] = []
        self._output: list[Json] = []
        self._sequence = 0
        self._last: Json = {}

    def open(self) -> bytes:
        return self._event("created", response=self._envelope) + self._event(
            "in_progress", response=self._envelope
        )

    def text(self, piece: str) -> bytes:
        opening = b"" if self._texts else self._begin_text()
        self._texts.append(piece)
        return opening + self._event("output_text.delta", **self._part(), delta=piece, logprobs=[])

    def call(self, index: int, call: ToolCall) -> bytes:
        ended = self._end_text()
        item = function_item(call)
        place = {"output_index": len(self._output), "item_id": item["id"]}
        self._output.append(item)
        where = {"output_index": place["output_index"]}
        started = item | {"status": "in_progress", "arguments": ""}
        return b"".join(
            (
                ended,
                self._event("output_item.added", **where, item=started),
                self._event("function_call_arguments.delta", **place, delta=item["arguments"]),
                self._event(
                    "function_call_arguments.done", **place, name=call.name, arguments=item["arguments"]
                ),
                self._event("output_item.done", **where, item=item),
            )
        )

    def close(self, finish: Finish, usage: Usage) -> bytes:
        ended = self._end_text()
        self._last = finished(self._envelope, self._output, finish, usage)
        return ended

    def end(self) -> bytes:
        return self._event(self._last["status"], response=self._last)

    def _begin_text(self) -> bytes:
        item = message_item(self._message, "") | {"status": "in_progress", "content": []}
        added = self._event("output_item.added", output_index=len(self._output), item=item)
        return added + self._event("content_part.added", **self._part(), part=text_part(""))

    def _end_text(self) -> bytes:
        if not self._texts or self._output:
            return b""
        text = "".join(self._texts)
        item = message_item(self._message, text)
        ended = self._event("output_text.done", **self._part(), text=text, logprobs=[])
        ended += self._event("content_part.done", **self._part(), part=text_part(text))
        ended += self._event("output_item.done", output_index=0, item=item)
        self._output.append(item)
        return ended

    def _part(self) -> Json:
        return {"item_id": self._message, "output_index": 0, "content_index": 0}

    def _event(self, kind: str, **values: object) -> bytes:
        self._sequence += 1
        return typed({"type": f"response.{kind}", "sequence_number": self._sequence - 1, **values})


def envelope(ask: Ask) -> Json:
    return {
        "id": f"resp_{token_hex(16)}",
        "object": "response",
        "created_at": int(time()),
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": ask.max_tokens,
        "metadata": {},
        "model": ask.model,
        "output": [],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "store": False,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": None,
        "user": None,
    }


def finished(base: Json, output: list[Json], finish: Finish, usage: Usage) -> Json:
    reasons = {"length": "max_output_tokens", "content_filter": "content_filter"}
    cause = reasons.get(finish)
    return base | {
        "status": "incomplete" if cause else "completed",
        "incomplete_details": {"reason": cause} if cause else None,
        "output": output,
        "usage": {
            "input_tokens": usage.prompt,
            "input_tokens_details": {"cached_tokens": usage.cached},
            "output_tokens": usage.completion,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": usage.total,
        },
    }


def text_part(text: str) -> Json:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def message_item(item_id: str, text: str) -> Json:
    content = [text_part(text)]
    return {
        "id": item_id,
        "type": "message",
        "status": "completed",
        "role": "assistant",
        "content": content,
    }


def function_item(call: ToolCall) -> Json:
    return {
        "id": f"fc_{token_hex(12)}",
        "type": "function_call",
        "status": "completed",
        "call_id": call.id,
        "name": call.name,
        "arguments": call.arguments_text,
    }


def instructions_of(body: Json) -> tuple[Turn, ...]:
    text = body.get("instructions")
    return (Turn("system", text),) if isinstance(text, str) else ()


def input_turns(value: object) -> tuple[Turn, ...]:
    if isinstance(value, str):
        return (Turn("user", value),)
    turns = tuple(filter(None, map(_turn, items(value))))
    if not turns:
        raise BadRequest("'input' is a required string or list of items.")
    return turns


def _turn(item: Json) -> Turn | None:
    if item.get("type") == "function_call_output":
        return Turn("tool", text_of(item.get("output")))
    return Turn(role_of(item["role"]), text_of(item.get("content"))) if item.get("role") else None


def flat_tools(tools: object) -> tuple[Tool, ...]:
    functions = (t for t in items(tools) if t.get("type") == "function" and t.get("name"))
    return tuple(Tool(f["name"], fields(f.get("parameters"))) for f in functions)


def format_of(value: object) -> Json | None:
    wanted = fields(value)
    if wanted.get("type") not in ("json_schema", "json_object"):
        return None
    return fields(wanted.get("schema")) or ANY_OBJECT
