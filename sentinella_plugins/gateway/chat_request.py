"""The body of a chat call: checked, and taken apart into what providers may see and what is ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from sentinella_plugins.kernel.access import AUTO
from sentinella_plugins.kernel.call import Json, Options
from sentinella_plugins.kernel.errors import BadRequest

Number = Annotated[float, Field(strict=True)]
Whole = Annotated[int, Field(strict=True)]
Flag = Annotated[bool, Field(strict=True)]
Text = Annotated[str, Field(strict=True)]
Name = Annotated[str, Field(strict=True, max_length=256)]


class _Message(BaseModel):
    model_config = ConfigDict(extra="allow")

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Text | list[dict[str, Any]] | None = None
    tool_calls: list[dict[str, Any]] | None = None


class _Routing(BaseModel):
    model_config = ConfigDict(extra="forbid")

    max_cost_usd: Annotated[float, Field(ge=0)] | None = None
    max_latency_ms: Annotated[float, Field(ge=0)] | None = None
    min_quality: Annotated[float, Field(ge=0, le=1)] | None = None
    providers: list[Name] | None = None
    exclude: list[Name] | None = None
    objective: Literal["balanced", "cheapest", "best", "fastest"] | None = None


class _Cache(BaseModel):
    model_config = ConfigDict(extra="forbid")

    mode: Literal["default", "bypass", "refresh", "only"] | None = None
    threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    ttl_s: Annotated[float, Field(gt=0)] | None = None


class _Template(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Name
    version: int | None = None
    label: Name | None = None
    variables: dict[str, Any] = {}


class _Chat(BaseModel):
    """Types only: ranges are the providers' business."""

    model_config = ConfigDict(extra="allow")

    model: Name | None = None
    messages: Annotated[list[_Message], Field(max_length=100_000)] | None = None
    stream: Flag | None = None
    stream_options: dict[str, Any] | None = None
    max_tokens: Annotated[Whole, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[Whole, Field(ge=1)] | None = None
    n: Annotated[Whole, Field(ge=1, le=128)] | None = None
    temperature: Number | None = None
    top_p: Number | None = None
    top_k: Number | None = None
    min_p: Number | None = None
    presence_penalty: Number | None = None
    frequency_penalty: Number | None = None
    repetition_penalty: Number | None = None
    seed: Whole | None = None
    stop: Text | list[Text] | None = None
    logprobs: Flag | None = None
    top_logprobs: Whole | None = None
    logit_bias: dict[str, float] | None = None
    user: Text | None = None
    safety_identifier: Text | None = None
    prompt_cache_key: Text | None = None
    prompt_cache_retention: Text | None = None
    response_format: dict[str, Any] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: Text | dict[str, Any] | None = None
    functions: list[dict[str, Any]] | None = None
    function_call: Text | dict[str, Any] | None = None
    parallel_tool_calls: Flag | None = None
    reasoning_effort: Text | dict[str, Any] | None = None
    thinking: dict[str, Any] | None = None
    verbosity: Text | None = None
    modalities: list[Text] | None = None
    audio: dict[str, Any] | None = None
    prediction: dict[str, Any] | None = None
    service_tier: Text | None = None
    store: Flag | None = None
    metadata: dict[str, Any] | None = None
    web_search_options: dict[str, Any] | None = None
    safe_prompt: Flag | None = None
    safety_settings: list[dict[str, Any]] | None = None
    # Sentinella's own
    session_id: Annotated[str, Field(strict=True, min_length=1, max_length=128)] | None = None
    template: _Template | None = None
    tool_execution: Literal["client", "gateway"] | None = None
    routing: _Routing | None = None
    cache: _Cache | None = None


_CHAT: TypeAdapter[_Chat] = TypeAdapter(_Chat)
_OWN = ("session_id", "template", "tool_execution", "routing", "cache")
# A list of what may pass, not of what may not: LiteLLM's own arguments (`api_base`, `fallbacks`,
# `mock_response`, ...) come by the same road, and one forgotten there would send our keys to a stranger's
# server.
_KNOWN = frozenset(_Chat.model_fields)


@dataclass(frozen=True, slots=True)
class ChatRequest:
    model: str
    stream: bool
    wants_usage: bool
    body: Json
    options: Options


def decode(raw: bytes) -> dict[str, Any]:
    """The JSON object of a body. `BadRequest` for anything else, invalid UTF-8 and over-deep nesting
    included."""
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"The body is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise BadRequest("The body must be a JSON object.")
    return value


def parse_chat(
    data: Mapping[str, Any], extra_params: tuple[str, ...], session_id: str | None = None
) -> ChatRequest:
    """`session_id` is that of the header. Raises `BadRequest` that names the first wrong field."""
    for name in data:
        if name not in _KNOWN and name not in extra_params:
            raise BadRequest(f"`{name}` is not a field of this request.", param=name)
    if session_id is not None and data.get("session_id") is None:
        data = {**data, "session_id": session_id}
    try:
        checked = _CHAT.validate_python(data)
    except ValidationError as error:
        raise explain(error) from None
    if not checked.messages and checked.template is None:
        raise BadRequest("`messages`: at least one message is required.", param="messages")
    body = {name: value for name, value in data.items() if name not in _OWN and value is not None}
    body.pop("model", None)
    return ChatRequest(
        model=checked.model or AUTO,
        stream=bool(checked.stream),
        wants_usage=bool((checked.stream_options or {}).get("include_usage")),
        body=body,
        options=_options(data, checked),
    )


def _options(data: Mapping[str, Any], checked: _Chat) -> Options:
    return Options(
        session_id=checked.session_id,
        template=data.get("template"),
        tool_execution=checked.tool_execution or "client",
        routing=data.get("routing") or {},
        cache=data.get("cache") or {},
    )


def explain(error: ValidationError) -> BadRequest:
    first = error.errors(include_url=False, include_input=False)[0]
    # In a union the path ends with the type that was tried ("content.str"): the user knows only the field.
    path = [str(part) for part in first["loc"] if part not in ("str", "dict") and "[" not in str(part)]
    param = ".".join(path) or None
    return BadRequest(f"`{param}`: {first['msg']}.", param=param)
