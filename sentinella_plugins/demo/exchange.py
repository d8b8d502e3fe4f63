"""The words every dialect is translated to and from."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from secrets import token_hex
from typing import Any, Literal, NamedTuple, TypeAlias

import orjson

Json: TypeAlias = dict[str, Any]
Role: TypeAlias = Literal["system", "user", "assistant", "tool"]
Finish: TypeAlias = Literal["stop", "length", "tool_calls", "content_filter"]


class BadRequest(Exception):
    """The body is not what this endpoint accepts."""


class Turn(NamedTuple):
    role: Role
    text: str


@dataclass(frozen=True, slots=True)
class Tool:
    name: str
    schema: Json


@dataclass(frozen=True, slots=True)
class ToolCall:
    name: str
    arguments: Json
    id: str

    @property
    def arguments_text(self) -> str:
        return orjson.dumps(self.arguments).decode()


@dataclass(frozen=True, slots=True)
class Usage:
    prompt: int
    completion: int
    cached: int = 0

    @property
    def total(self) -> int:
        return self.prompt + self.completion


@dataclass(frozen=True, slots=True)
class Ask:
    """One request, whatever the provider's wire format."""

    model: str
    turns: tuple[Turn, ...]
    stream: bool = False
    tools: tuple[Tool, ...] = ()
    tool_choice: str = "auto"
    max_tokens: int | None = None
    schema: Json | None = None
    include_usage: bool = False
    n: int = 1
    inputs: tuple[str, ...] = ()
    dimensions: int | None = None
    base64: bool = False

    @property
    def question(self) -> str:
        return next((t.text for t in reversed(self.turns) if t.role == "user"), "")

    @property
    def prefilled(self) -> bool:
        """Whether the answer has been begun already: the last turn is the assistant's."""
        return bool(self.turns) and self.turns[-1].role == "assistant"

    @property
    def tool_result(self) -> str | None:
        for turn in reversed(self.turns):
            if turn.role == "tool":
                return turn.text
            if turn.role == "user":
                return None
        return None

    @property
    def prompt_tokens(self) -> int:
        return sum(3 + len(t.text) // 4 for t in self.turns) + 1

    @property
    def wanted_tool(self) -> Tool | None:
        if not self.tools or self.tool_choice == "none" or self.tool_result is not None:
            return None
        return next((t for t in self.tools if t.name == self.tool_choice), self.tools[0])


@dataclass(frozen=True, slots=True)
class Live:
    """Text that is still being generated; `stop` ends the generation at once."""

    pieces: AsyncIterator[str]
    stop: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Answer:
    pieces: tuple[str, ...] = ()
    calls: tuple[ToolCall, ...] = ()
    finish: Finish = "stop"
    usage: Usage | None = None
    live: Live | None = None

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    def usage_for(self, ask: Ask, pieces: int) -> Usage:
        spoken = pieces + sum(4 + len(c.arguments_text) // 4 for c in self.calls)
        return self.usage or Usage(ask.prompt_tokens, spoken)


def call_id() -> str:
    return "call_" + token_hex(12)


def text_of(content: object) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, dict):
        return str(content.get("text") or "")
    if isinstance(content, list):
        return "\n".join(filter(None, map(text_of, content)))
    return ""


def fields(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def items(value: object) -> list[Json]:
    return [x for x in value if isinstance(x, dict)] if isinstance(value, list) else []
