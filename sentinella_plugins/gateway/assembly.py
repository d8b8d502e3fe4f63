"""A streamed answer put together again, for those who keep whole ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

_WORDS = ("content", "refusal", "reasoning_content")


@dataclass(slots=True)
class _Said:
    words: dict[str, list[str]] = field(default_factory=dict)
    tools: dict[int, dict[str, Any]] = field(default_factory=dict)
    other: dict[str, Any] = field(default_factory=dict)
    finish: str | None = None


class Assembly:
    def __init__(self) -> None:
        self._said: dict[int, _Said] = {}

    def add(self, choice: dict[str, Any]) -> None:
        said = self._said.setdefault(choice.get("index") or 0, _Said())
        said.finish = choice.get("finish_reason") or said.finish
        for name, value in (choice.get("delta") or {}).items():
            if name in _WORDS and isinstance(value, str):
                said.words.setdefault(name, []).append(value)
            elif name == "tool_calls":
                for place, call in enumerate(value or ()):
                    _extend(said.tools, place, call)
            elif name == "thinking_blocks" and isinstance(value, list):
                said.other.setdefault(name, []).extend(value)
            elif name != "role" and value is not None:
                said.other[name] = value

    def message(self, index: int = 0) -> dict[str, Any]:
        said = self._said.get(index, _Said())
        words = {name: "".join(pieces) for name, pieces in said.words.items()}
        message = {"role": "assistant", "content": None, "refusal": None, **words, **said.other}
        if said.tools:
            message["tool_calls"] = list(said.tools.values())
            message["content"] = message["content"] or None
        return message

    def body(self, head: dict[str, Any], usage: dict[str, Any]) -> dict[str, Any]:
        """OpenAI's `chat.completion`; `head` is any chunk."""
        choices = [
            {
                "index": index,
                "message": self.message(index),
                "logprobs": None,
                "finish_reason": self._said[index].finish or "stop",
            }
            for index in sorted(self._said)
        ]
        named: dict[str, Any] = {name: head[name] for name in ("id", "created", "model") if name in head}
        return {**named, "object": "chat.completion", "choices": choices, "usage": usage}


def _extend(tools: dict[int, dict[str, Any]], place: int, piece: dict[str, Any]) -> None:
    index = piece.get("index")
    held = tools.setdefault(
        place if index is None else index,
        {"id": "", "type": "function", "function": {"name": "", "arguments": ""}},
    )
    held["id"] = piece.get("id") or held["id"]
    function = piece.get("function") or {}
    held["function"]["name"] = function.get("name") or held["function"]["name"]
    held["function"]["arguments"] += function.get("arguments") or ""
