"""What the demo upstream was told to do: rules, faults and scripted replies."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import Any, ClassVar

import orjson
from pydantic import ConfigDict, TypeAdapter, ValidationError

from .exchange import Ask, Finish, Json

STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True)
class Fault:
    """How an answer goes wrong. Times are seconds; `*_after` counts streamed chunks."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT
    status: int | None = None
    retry_after: float | None = None
    code: str | None = None
    message: str | None = None
    reset: bool = False
    silent_s: float = 0
    first_token_delay_s: float = 0
    delay_s: float = 0
    cut_after: int | None = None
    end_after: int | None = None
    stall_after: int | None = None
    stall_s: float = 30
    malformed_after: int | None = None
    no_done: bool = False
    garbage: bool = False
    content_filter: bool = False

    @property
    def is_error(self) -> bool:
        return self.status is not None or self.code is not None


@dataclass(frozen=True, slots=True)
class ReplyCall:
    __pydantic_config__: ClassVar[ConfigDict] = STRICT
    name: str
    arguments: dict[str, Any] | None = None
    id: str | None = None


@dataclass(frozen=True, slots=True)
class ReplyUsage:
    __pydantic_config__: ClassVar[ConfigDict] = STRICT
    prompt: int
    completion: int
    cached: int = 0


@dataclass(frozen=True, slots=True)
class Reply:
    """What to answer instead of the demo text."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT
    text: str | None = None
    chunks: int | list[str] | None = None
    tool_calls: list[ReplyCall] | None = None
    finish_reason: Finish | None = None
    usage: ReplyUsage | None = None


@dataclass(frozen=True, slots=True)
class Match:
    """Which requests a rule is for; an absent field matches everything."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT
    provider: str | None = None
    model: str | None = None
    stream: bool | None = None
    contains: str | None = None
    prefill: bool | None = None

    def accepts(self, provider: str, ask: Ask) -> bool:
        return (
            self.provider in (None, provider)
            and self.model in (None, ask.model)
            and self.stream in (None, ask.stream)
            and (self.contains is None or self.contains in ask.question)
            and self.prefill in (None, ask.prefilled)
        )


@dataclass(frozen=True, slots=True)
class Rule:
    __pydantic_config__: ClassVar[ConfigDict] = STRICT
    match: Match = field(default_factory=Match)
    times: int | None = None
    every: int = 1
    fault: Fault = field(default_factory=Fault)
    reply: Reply = field(default_factory=Reply)


NO_RULE = Rule()
_RULE = TypeAdapter(Rule)


def parse_rule(data: bytes) -> Rule:
    """Raises `ValueError` with a readable reason when `data` is no rule."""
    try:
        return _RULE.validate_python(orjson.loads(data))
    except ValidationError as error:
        reasons = (f"{'.'.join(map(str, e['loc'])) or 'rule'}: {e['msg']}" for e in error.errors())
        raise ValueError("; ".join(reasons)) from error


@dataclass(slots=True)
class Standing:
    id: int
    rule: Rule
    seen: int = 0
    used: int = 0

    def takes(self) -> bool:
        self.seen += 1
        if self.seen % max(self.rule.every, 1):
            return False
        self.used += 1
        return True

    @property
    def expired(self) -> bool:
        return self.rule.times is not None and self.used >= self.rule.times

    def describe(self) -> Json:
        return {"id": self.id, "seen": self.seen, "used": self.used, "rule": _RULE.dump_python(self.rule)}


class RuleBook:
    def __init__(self) -> None:
        self._standing: list[Standing] = []
        self._ids = count(1)

    def add(self, rule: Rule) -> int:
        standing = Standing(next(self._ids), rule)
        self._standing.append(standing)
        return standing.id

    def clear(self) -> None:
        self._standing.clear()

    def describe(self) -> list[Json]:
        return [s.describe() for s in self._standing]

    def pick(self, provider: str, ask: Ask) -> Rule:
        for standing in self._standing:
            if standing.rule.match.accepts(provider, ask) and standing.takes():
                if standing.expired:
                    self._standing.remove(standing)
                return standing.rule
        return NO_RULE
