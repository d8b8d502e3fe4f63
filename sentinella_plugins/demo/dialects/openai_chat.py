from __future__ import annotations

from dataclasses import dataclass
from secrets import token_hex
from time import time
from typing import cast

import orjson

from ..exchange import Answer, Ask, Finish, Json, Role, Tool, ToolCall, Turn, Usage, fields, items, text_of
from .base import EVENT_STREAM, data, required, required_items, whole_number

ROLES: dict[str, Role] = {"developer": "system", "function": "tool"}
ANY_OBJECT: Json = {"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]}


@dataclass(frozen=True, slots=True)
class OpenAIChat:
    provider: str
    media: bytes = EVENT_STREAM

    def read(self, body: Json) -> Ask:
        options = fields(body.get("stream_options"))
        return Ask(
            model=required(body, "model"),
            turns=turns_of(required_items(body, "messages")),
            stream=body.get("stream") is True,
            tools=tools_of(body.get("tools")),
            tool_choice=choice_of(body.get("tool_choice")),
            max_tokens=whole_number(body, "max_completion_tokens", "max_tokens"),
            schema=schema_of(body.get("response_format")),
            include_usage=options.get("include_usage") is True,
            n=whole_number(body, "n") or 1,
        )

    def whole(self, ask: Ask, answer: Answer) -> Json:
        usage = answer.usage_for(ask, len(answer.pieces) * ask.n)
        message: Json = {"role": "assistant", "content": answer.text or None, "refusal": None}
        if answer.calls:
            message["tool_calls"] = [tool_call(c) for c in answer.calls]
        choice = {"message": message, "logprobs": None, "finish_reason": answer.finish}
        return frame(self.provider, "chat.completion", ask.model) | {
            "choices": [{"index": i, **choice} for i in range(ask.n)],
            "usage": usage_of(self.provider, usage),
        }

    def encoder(self, ask: Ask) -> OpenAIChatEncoder:
        return OpenAIChatEncoder(self.provider, ask)


class OpenAIChatEncoder:
    def __init__(self, provider: str, ask: Ask) -> None:
        self._provider = provider
        self._ask = ask
        self._frame = frame(provider, "chat.completion.chunk", ask.model)
        blank = self._deltas({"content": "@"})
        self._halves = blank.split(b'"@"')

    def open(self) -> bytes:
        return self._deltas({"role": "assistant", "content": "", "refusal": None})

    def text(self, piece: str) -> bytes:
        return orjson.dumps(piece).join(self._halves)

    def call(self, index: int, call: ToolCall) -> bytes:
        opening = {"index": index, **tool_call(call)}
        opening["function"] = {"name": call.name, "arguments": ""}
        arguments = {"index": index, "function": {"arguments": call.arguments_text}}
        return self._deltas({"tool_calls": [opening]}) + self._deltas({"tool_calls": [arguments]})

    def close(self, finish: Finish, usage: Usage) -> bytes:
        counted = usage_of(self._provider, usage)
        if self._provider == "openai":
            tail = data({**self._frame, "choices": [], "usage": counted}) if self._ask.include_usage else b""
            return self._deltas({}, finish) + tail
        return self._deltas({}, finish, {"usage": counted})

    def end(self) -> bytes:
        return b"data: [DONE]\n\n"

    def _deltas(self, delta: Json, finish: str | None = None, extra: Json | None = None) -> bytes:
        choice = {"delta": delta, "logprobs": None, "finish_reason": finish}
        choices = ([{"index": i, **choice}] for i in range(self._ask.n))
        return b"".join(data({**self._frame, "choices": c, **(extra or {})}) for c in choices)


def frame(provider: str, kind: str, model: str) -> Json:
    named: Json = {
        "id": f"chatcmpl-{token_hex(12)}",
        "object": kind,
        "created": int(time()),
        "model": model,
        "system_fingerprint": "fp_demo",
    }
    return named | {"service_tier": "on_demand"} if provider == "groq" else named


def turns_of(messages: list[Json]) -> tuple[Turn, ...]:
    return tuple(Turn(role_of(m.get("role")), text_of(m.get("content"))) for m in messages)


def role_of(role: object) -> Role:
    return ROLES.get(str(role)) or cast("Role", role)


def tools_of(tools: object) -> tuple[Tool, ...]:
    functions = (fields(t.get("function")) for t in items(tools))
    return tuple(Tool(f["name"], fields(f.get("parameters"))) for f in functions if f.get("name"))


def choice_of(choice: object) -> str:
    if isinstance(choice, str):
        return choice
    return str(fields(fields(choice).get("function")).get("name") or fields(choice).get("name") or "auto")


def schema_of(response_format: object) -> Json | None:
    wanted = fields(response_format)
    if wanted.get("type") == "json_object":
        return fields(wanted.get("schema")) or ANY_OBJECT
    if wanted.get("type") == "json_schema":
        return fields(fields(wanted.get("json_schema")).get("schema")) or ANY_OBJECT
    return None


def tool_call(call: ToolCall) -> Json:
    return {
        "id": call.id,
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments_text},
    }


def usage_of(provider: str, usage: Usage) -> Json:
    counted: Json = {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.total,
        "prompt_tokens_details": {"cached_tokens": usage.cached},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }
    if provider == "deepseek":
        misses = usage.prompt - usage.cached
        counted |= {"prompt_cache_hit_tokens": usage.cached, "prompt_cache_miss_tokens": misses}
    return counted
