from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from secrets import token_hex

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
from .base import EVENT_STREAM, required, required_items, typed, whole_number
from .openai_chat import role_of
from .openai_responses import format_of

STOPS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}


@dataclass(frozen=True, slots=True)
class AnthropicMessages:
    media: bytes = EVENT_STREAM

    def read(self, body: Json) -> Ask:
        limit = whole_number(body, "max_tokens")
        if limit is None:
            raise BadRequest("max_tokens: Field required")
        wanted = fields(body.get("output_config")).get("format") or body.get("output_format")
        return Ask(
            model=required(body, "model"),
            turns=tuple(_turns(body)),
            stream=body.get("stream") is True,
            tools=_tools(body.get("tools")),
            tool_choice=_choice(fields(body.get("tool_choice"))),
            max_tokens=limit,
            schema=format_of(wanted),
        )

    def whole(self, ask: Ask, answer: Answer) -> Json:
        content: list[Json] = [{"type": "text", "text": answer.text}] if answer.pieces else []
        content += [_tool_use(c) | {"input": c.arguments} for c in answer.calls]
        usage = answer.usage_for(ask, len(answer.pieces))
        return _message(ask, _usage(usage) | {"output_tokens": usage.completion}) | {
            "content": content,
            "stop_reason": STOPS[answer.finish],
        }

    def encoder(self, ask: Ask) -> AnthropicEncoder:
        return AnthropicEncoder(ask)


class AnthropicEncoder:
    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._index = 0
        self._talking = False

    def open(self) -> bytes:
        usage = _usage(Usage(self._ask.prompt_tokens, 0)) | {"output_tokens": 1}
        start = typed({"type": "message_start", "message": _message(self._ask, usage)})
        return start + typed({"type": "ping"})

    def text(self, piece: str) -> bytes:
        opening = b"" if self._talking else self._start({"type": "text", "text": ""})
        self._talking = True
        return opening + self._delta({"type": "text_delta", "text": piece})

    def call(self, index: int, call: ToolCall) -> bytes:
        ended = self._end_text()
        opened = self._start(_tool_use(call) | {"input": {}})
        delta = self._delta({"type": "input_json_delta", "partial_json": call.arguments_text})
        return ended + opened + delta + self._stop()

    def close(self, finish: Finish, usage: Usage) -> bytes:
        ended = self._end_text()
        delta = {"stop_reason": STOPS[finish], "stop_sequence": None}
        counted = _usage(usage) | {"output_tokens": usage.completion}
        return ended + typed({"type": "message_delta", "delta": delta, "usage": counted})

    def end(self) -> bytes:
        return typed({"type": "message_stop"})

    def _end_text(self) -> bytes:
        if not self._talking:
            return b""
        self._talking = False
        return self._stop()

    def _start(self, block: Json) -> bytes:
        return typed({"type": "content_block_start", "index": self._index, "content_block": block})

    def _delta(self, delta: Json) -> bytes:
        return typed({"type": "content_block_delta", "index": self._index, "delta": delta})

    def _stop(self) -> bytes:
        self._index += 1
        return typed({"type": "content_block_stop", "index": self._index - 1})


def _message(ask: Ask, usage: Json) -> Json:
    return {
        "id": f"msg_{token_hex(12)}",
        "type": "message",
        "role": "assistant",
        "model": ask.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage,
    }


def _usage(usage: Usage) -> Json:
    return {
        "input_tokens": usage.prompt - usage.cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached,
    }


def _tool_use(call: ToolCall) -> Json:
    return {"type": "tool_use", "id": call.id.replace("call_", "toolu_"), "name": call.name}


def _turns(body: Json) -> Iterator[Turn]:
    if system := text_of(body.get("system")):
        yield Turn("system", system)
    for message in required_items(body, "messages"):
        content = message.get("content")
        results = [b for b in items(content) if b.get("type") == "tool_result"]
        text = text_of(content)
        if text or not results:
            yield Turn(role_of(message.get("role")), text)
        yield from (Turn("tool", text_of(b.get("content"))) for b in results)


def _tools(tools: object) -> tuple[Tool, ...]:
    found = (t for t in items(tools) if "input_schema" in t)
    return tuple(Tool(t["name"], fields(t["input_schema"])) for t in found if t.get("name"))


def _choice(choice: Json) -> str:
    kind = choice.get("type", "auto")
    return str(choice.get("name")) if kind == "tool" else str(kind)
