"""The bodies of the metered routes, each held to the fields of the API that it speaks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from sentinella_plugins.gateway.chat_request import Flag, Name, Number, Text, Whole, explain
from sentinella_plugins.kernel.access import AUTO
from sentinella_plugins.kernel.call import Json
from sentinella_plugins.kernel.errors import BadRequest

COMPLETIONS, EMBEDDINGS = "/v1/completions", "/v1/embeddings"
RESPONSES, MESSAGES = "/v1/responses", "/v1/messages"
ROUTES = {
    path: route
    for route in (COMPLETIONS, EMBEDDINGS, RESPONSES, MESSAGES)
    for path in (route, route.removeprefix("/v1"))
    if path != "/messages"
}


def _without_servers(tool: dict[str, Any]) -> dict[str, Any]:
    """LiteLLM itself would call an MCP server that a tool names, from inside the operator's network."""
    if str(tool.get("type", "")).startswith("mcp"):
        raise ValueError("tools of the type `mcp` are not offered")
    return tool


def _only_clearing(management: dict[str, Any]) -> dict[str, Any]:
    """LiteLLM compacts with a model call of its own, which nobody would pay."""
    edits = management.get("edits") or []
    if not isinstance(edits, list) or not all(_clears(edit) for edit in edits):
        raise ValueError("only edits of the types `clear_...` are offered")
    return management


def _clears(edit: object) -> bool:
    return isinstance(edit, dict) and str(edit.get("type")).startswith("clear_")


Object = dict[str, Any]
Limit = Annotated[Whole, Field(ge=1)]
Tools = list[Annotated[Object, AfterValidator(_without_servers)]]
Tokens = Annotated[list[Whole], Field(min_length=1)]
Texts = Annotated[list[Text], Field(min_length=1)]
Given = Text | Texts | Tokens | Annotated[list[Tokens], Field(min_length=1)]


class _Fields(BaseModel):
    """Types only: ranges are the providers' business."""

    model_config = ConfigDict(extra="allow")

    model: Name | None = None
    user: Text | None = None


class _Completion(_Fields):
    # Not token ids: LiteLLM makes a chat of the prompt for most models, and stumbles over them.
    prompt: Text | Texts
    best_of: Limit | None = None
    echo: Flag | None = None
    frequency_penalty: Number | None = None
    logit_bias: dict[str, Number] | None = None
    logprobs: Whole | None = None
    max_tokens: Annotated[Whole, Field(ge=0)] | None = None
    n: Annotated[Whole, Field(ge=1, le=128)] | None = None
    presence_penalty: Number | None = None
    seed: Whole | None = None
    stop: Text | list[Text] | None = None
    stream: Flag | None = None
    stream_options: Object | None = None
    suffix: Text | None = None
    temperature: Number | None = None
    top_p: Number | None = None


class _Embedding(_Fields):
    input: Given
    dimensions: Limit | None = None
    encoding_format: Literal["float", "base64"] | None = None


class _Response(_Fields):
    input: Text | Annotated[list[Object], Field(min_length=1)]
    # A background answer is fetched later, by a route that nobody meters.
    background: Literal[False] | None = None
    include: list[Text] | None = None
    instructions: Text | None = None
    max_output_tokens: Limit | None = None
    max_tool_calls: Limit | None = None
    metadata: dict[str, Text] | None = None
    parallel_tool_calls: Flag | None = None
    previous_response_id: Text | None = None
    prompt: Object | None = None
    prompt_cache_key: Text | None = None
    prompt_cache_retention: Text | None = None
    reasoning: Object | None = None
    safety_identifier: Text | None = None
    service_tier: Text | None = None
    store: Flag | None = None
    stream: Flag | None = None
    stream_options: Object | None = None
    temperature: Number | None = None
    text: Object | None = None
    tool_choice: Text | Object | None = None
    tools: Tools | None = None
    top_logprobs: Whole | None = None
    top_p: Number | None = None
    truncation: Text | None = None


class _Turn(BaseModel):
    model_config = ConfigDict(extra="allow")

    role: Literal["user", "assistant", "system"]
    content: Text | list[Object]


class _Message(BaseModel):
    model_config = ConfigDict(extra="allow")

    model: Name | None = None
    messages: Annotated[list[_Turn], Field(min_length=1, max_length=100_000)]
    max_tokens: Limit
    cache_control: Object | None = None
    context_management: Annotated[Object, AfterValidator(_only_clearing)] | None = None
    inference_geo: Text | None = None
    metadata: dict[str, Text | None] | None = None
    output_config: Object | None = None
    output_format: Object | None = None
    service_tier: Text | None = None
    speed: Text | None = None
    stop_sequences: list[Text] | None = None
    stream: Flag | None = None
    system: Text | list[Object] | None = None
    temperature: Number | None = None
    thinking: Object | None = None
    tool_choice: Object | None = None
    tools: Tools | None = None
    top_k: Whole | None = None
    top_p: Number | None = None


FIELDS: Mapping[str, type[_Completion | _Embedding | _Response | _Message]] = {
    COMPLETIONS: _Completion,
    EMBEDDINGS: _Embedding,
    RESPONSES: _Response,
    MESSAGES: _Message,
}


@dataclass(frozen=True, slots=True)
class MeteredRequest:
    model: str
    stream: bool
    wants_usage: bool
    body: Json


def parse_metered(route: str, data: Mapping[str, Any], extra_params: tuple[str, ...]) -> MeteredRequest:
    """Raises `BadRequest` that names the first wrong field. LiteLLM takes its own arguments from the body
    too, and they are many: only what is known passes."""
    fields = FIELDS[route]
    for name in data:
        if name not in fields.model_fields and name not in extra_params:
            raise BadRequest(f"`{name}` is not a field of this request.", param=name)
    try:
        fields.model_validate(data)
    except ValidationError as error:
        raise explain(error) from None
    body = {name: value for name, value in data.items() if value is not None and name != "model"}
    return MeteredRequest(
        model=data.get("model") or AUTO,
        stream=data.get("stream") is True,
        wants_usage=bool((data.get("stream_options") or {}).get("include_usage")),
        body=body,
    )
