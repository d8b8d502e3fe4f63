from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from secrets import token_hex

import orjson

from ..exchange import Answer, Ask, Finish, Json, Tool, ToolCall, Turn, Usage, fields, items, text_of
from .base import EVENT_STREAM, data, required_items, whole_number
from .openai_chat import ANY_OBJECT

STOPS = {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP", "content_filter": "SAFETY"}
METHODS = ("generateContent", "streamGenerateContent")


@dataclass(frozen=True, slots=True)
class GeminiContent:
    """The model and the choice to stream are in the path, so each request has its own."""

    model: str
    stream: bool
    media: bytes = EVENT_STREAM

    def read(self, body: Json) -> Ask:
        config = fields(body.get("generationConfig") or body.get("generation_config"))
        return Ask(
            model=self.model,
            turns=tuple(_turns(body)),
            stream=self.stream,
            tools=tuple(_tools(body.get("tools"))),
            tool_choice=_choice(body),
            max_tokens=whole_number(config, "maxOutputTokens", "max_output_tokens"),
            schema=_schema(config),
        )

    def whole(self, ask: Ask, answer: Answer) -> Json:
        parts: list[Json] = [{"text": answer.text}] if answer.pieces else []
        parts += [_call(c) for c in answer.calls]
        usage = answer.usage_for(ask, len(answer.pieces))
        return _frame(ask, token_hex(8), parts, usage, STOPS[answer.finish])

    def encoder(self, ask: Ask) -> GeminiEncoder:
        return GeminiEncoder(ask)


class GeminiEncoder:
    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._id = token_hex(8)
        self._spoken = 0
        self._last = b""

    def open(self) -> bytes:
        return b""

    def text(self, piece: str) -> bytes:
        self._spoken += 1
        return data(_frame(self._ask, self._id, [{"text": piece}], self._usage()))

    def call(self, index: int, call: ToolCall) -> bytes:
        return data(_frame(self._ask, self._id, [_call(call)], self._usage()))

    def close(self, finish: Finish, usage: Usage) -> bytes:
        self._last = data(_frame(self._ask, self._id, [{"text": ""}], usage, STOPS[finish]))
        return b""

    def end(self) -> bytes:
        return self._last

    def _usage(self) -> Usage:
        return Usage(self._ask.prompt_tokens, self._spoken)


def _frame(ask: Ask, frame_id: str, parts: list[Json], usage: Usage, finish: str | None = None) -> Json:
    candidate: Json = {"content": {"parts": parts, "role": "model"}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    counted = {
        "promptTokenCount": usage.prompt,
        "candidatesTokenCount": usage.completion,
        "totalTokenCount": usage.total,
    }
    if usage.cached:
        counted["cachedContentTokenCount"] = usage.cached
    return {
        "candidates": [candidate],
        "usageMetadata": counted,
        "modelVersion": ask.model,
        "responseId": frame_id,
    }


def _call(call: ToolCall) -> Json:
    return {"functionCall": {"name": call.name, "args": call.arguments}}


def _turns(body: Json) -> Iterator[Turn]:
    system = fields(body.get("systemInstruction") or body.get("system_instruction"))
    if text := text_of(system.get("parts")):
        yield Turn("system", text)
    for content in required_items(body, "contents"):
        parts = items(content.get("parts"))
        results = [r for p in parts if (r := p.get("functionResponse") or p.get("function_response"))]
        text = text_of(parts)
        if text or not results:
            yield Turn("assistant" if content.get("role") == "model" else "user", text)
        yield from (Turn("tool", orjson.dumps(fields(r).get("response")).decode()) for r in results)


def _tools(tools: object) -> Iterator[Tool]:
    for group in items(tools):
        for f in items(group.get("functionDeclarations") or group.get("function_declarations")):
            schema = f.get("parametersJsonSchema") or f.get("parameters_json_schema") or f.get("parameters")
            if f.get("name"):
                yield Tool(f["name"], fields(schema))


def _choice(body: Json) -> str:
    config = fields(body.get("toolConfig") or body.get("tool_config"))
    calling = fields(config.get("functionCallingConfig") or config.get("function_calling_config"))
    names = calling.get("allowedFunctionNames") or calling.get("allowed_function_names")
    return str(names[0]) if names else str(calling.get("mode", "auto")).lower()


def _schema(config: Json) -> Json | None:
    keys = ("responseJsonSchema", "responseSchema", "response_json_schema", "response_schema")
    found = next((config[k] for k in keys if config.get(k)), None)
    media = config.get("responseMimeType") or config.get("response_mime_type")
    return fields(found) or (ANY_OBJECT if media == "application/json" else None)
