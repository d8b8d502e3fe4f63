"""Tools in OpenAI's words: what a model is offered, what it asks for, what it is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from sentinella_plugins.kernel.call import Json
from sentinella_plugins.tools.models import Offered, ToolCall, ToolResult


def function(offered: Offered) -> dict[str, Any]:
    """An entry of `tools`."""
    described = {"description": offered.description} if offered.description else {}
    return {
        "type": "function",
        "function": {"name": offered.name, **described, "parameters": dict(offered.parameters)},
    }


def name_of(tool: Mapping[str, Any]) -> str | None:
    """Of an entry of `tools`; `None` for what is no function."""
    inner = tool.get("function")
    name = inner.get("name") if isinstance(inner, Mapping) else None
    return name if tool.get("type") == "function" and isinstance(name, str) else None


def only_names(tool: Mapping[str, Any]) -> bool:
    """Whether an entry of `tools` picks a registered tool instead of describing one."""
    return name_of(tool) is not None and set(tool["function"]) == {"name"}


def calls_of(message: Json) -> tuple[ToolCall, ...]:
    """What an assistant's message asks for. Malformed entries keep their place with empty names."""
    found = message.get("tool_calls")
    entries = found if isinstance(found, list) else []
    return tuple(_call(entry, number) for number, entry in enumerate(entries))


def continued(body: Json, message: Json, results: Sequence[ToolResult]) -> dict[str, Any]:
    """The body of the next question. A `tool_choice` that forces a tool is for the first question only: else
    the model could never answer."""
    messages = body.get("messages")
    told = [{"role": "tool", "tool_call_id": result.id, "content": result.content} for result in results]
    spoken = {"role": "assistant", "content": message.get("content"), "tool_calls": _asked(message, results)}
    if message.get("thinking_blocks"):  # whoever signed its thoughts wants to see them again
        spoken["thinking_blocks"] = message["thinking_blocks"]
    following = {**body, "messages": [*(messages if isinstance(messages, list) else ()), spoken, *told]}
    if following.get("tool_choice") not in (None, "auto", "none"):
        following["tool_choice"] = "auto"
    return following


def event(call: ToolCall, status: Literal["started", "finished"], result: ToolResult | None = None) -> Json:
    """What a chunk that says nothing else carries under `sentinella`: `{"tool": {"name", "id", "status",
    "ok", "ms"}}`. Clients that do not know it pass it by."""
    told: dict[str, object] = {"name": call.name, "id": call.id, "status": status}
    if result is not None:
        told |= {"ok": result.ok, "ms": round(result.ms, 1)}
    return {"tool": told}


def _call(entry: object, number: int) -> ToolCall:
    outer = entry if isinstance(entry, Mapping) else {}
    inner = outer.get("function")
    asked = inner if isinstance(inner, Mapping) else {}
    arguments = asked.get("arguments")
    return ToolCall(
        id=str(outer.get("id") or f"call_{number}"),
        name=str(asked.get("name") or ""),
        arguments=arguments if isinstance(arguments, str) else "",
    )


def _asked(message: Json, results: Sequence[ToolResult]) -> list[dict[str, Any]]:
    """The calls as they were made, each with an id; providers refuse arguments that are no JSON object."""
    wrong = {result.id for result in results if result.error == "malformed_arguments"}
    entries: Any = message.get("tool_calls")
    return [
        {
            **entry,
            "id": call.id,
            "type": "function",
            "function": {
                "name": call.name,
                "arguments": "{}" if call.id in wrong else call.arguments or "{}",
            },
        }
        for entry, call in zip(entries, calls_of(message), strict=True)
        if isinstance(entry, Mapping)
    ]
