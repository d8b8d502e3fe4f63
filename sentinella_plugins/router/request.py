"""What the body of a call asks for, as far as the choice of a model depends on it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

from sentinella_plugins.kernel.call import Call, Json
from sentinella_plugins.router.config import ReadingConfig

_PARTS = {
    "image_url": "vision",
    "input_image": "vision",
    "image": "vision",
    "input_audio": "audio",
    "file": "pdf",
}
_IMAGE_TOKENS = 800
_MESSAGE_TOKENS = 4
_ASCII_BYTES = 4.0
_OTHER_BYTES = 3.0
_MOST_MESSAGES = 2_000
_MOST_CHOICES = 128
_BOUNDS = ("max_completion_tokens", "max_tokens", "max_output_tokens")
_PREVIOUS_CHARS = 500
_NO_EFFORT = (None, "", "none", "minimal")


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """`text` is bounded and what features are taken from; `question` is the whole last user turn.

    `prompt_tokens` is a guess by length. `output_tokens` is what the body allows for one answer, or `None`.
    `session` is a hash that the turns of a conversation share.
    """

    text: str = ""
    question: str = ""
    characters: int = 0
    messages: int = 1
    images: int = 0
    tools: int = 0
    prompt_tokens: int = 0
    output_tokens: int | None = None
    choices: int = 1
    needs: frozenset[str] = frozenset()
    session: str | None = None
    later_turn: bool = False

    def without_text(self) -> Request:
        return replace(self, text="", question="")


@dataclass(slots=True)
class _Seen:
    tokens: float = 0.0
    images: int = 0
    question: str = ""
    previous: str = ""
    first: str = ""
    answered: bool = False


def read(call: Call, config: ReadingConfig) -> Request:
    body = call.body
    messages = _messages(body)
    seen = _Seen(tokens=sum(_tokens(text) for text in _other_texts(body)))
    needs = set(_needs(body))
    for message in messages[-_MOST_MESSAGES:]:
        _see(seen, message, needs)
    if len(messages) > _MOST_MESSAGES:
        seen.tokens *= len(messages) / _MOST_MESSAGES
    tools = body.get("tools") or body.get("functions")
    question = seen.question or next(iter(_other_texts(body)), "")
    return Request(
        text=_bounded(question, seen.previous, config),
        question=question,
        characters=len(question),
        messages=max(1, len(messages)),
        images=seen.images,
        tools=len(tools) if isinstance(tools, list) else 0,
        prompt_tokens=call.estimate.prompt_tokens if call.estimate else _guess(seen, tools),
        output_tokens=next(_counts(body, _BOUNDS), None),
        choices=min(next(_counts(body, ("n",)), 1), _MOST_CHOICES),
        needs=frozenset(needs),
        session=_session(call, messages, seen),
        later_turn=seen.answered or bool(call.options.session_id or body.get("prompt_cache_key")),
    )


def _see(seen: _Seen, message: Mapping[str, Any], needs: set[str]) -> None:
    content = message.get("content")
    text = content if isinstance(content, str) else _text_of_parts(seen, content, needs)
    seen.tokens += _tokens(text) + _MESSAGE_TOKENS
    calls = message.get("tool_calls")
    if isinstance(calls, list):
        seen.tokens += sum(_tokens(_arguments(call)) for call in calls)
    role = message.get("role")
    if role == "user":
        seen.first = seen.first or text
        seen.previous, seen.question = seen.question, text
    seen.answered |= role == "assistant"


def _text_of_parts(seen: _Seen, content: object, needs: set[str]) -> str:
    texts = []
    for part in content if isinstance(content, list) else ():
        kind = part.get("type") if isinstance(part, dict) else None
        if not isinstance(kind, str):
            continue
        if isinstance(part.get("text"), str):
            texts.append(part["text"])
        if kind in _PARTS:
            needs.add(_PARTS[kind])
            seen.images += _PARTS[kind] == "vision"
            seen.tokens += _IMAGE_TOKENS
    return "\n".join(texts)


def _arguments(call: object) -> str:
    function = call.get("function") if isinstance(call, dict) else None
    arguments = function.get("arguments") if isinstance(function, dict) else None
    return arguments if isinstance(arguments, str) else ""


def _messages(body: Json) -> Sequence[Mapping[str, Any]]:
    given = body.get("messages")
    if not isinstance(given, list):
        given = body.get("input")
    found = given if isinstance(given, list) else ()
    return [message for message in found if isinstance(message, dict)]


def _other_texts(body: Json) -> Iterator[str]:
    """What other routes than chat call their question, then what they call their system prompt."""
    for name in ("input", "prompt", "instructions", "system"):
        value = body.get(name)
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            yield from (item for item in value[:_MOST_MESSAGES] if isinstance(item, str))


def _needs(body: Json) -> Iterator[str]:
    if body.get("tools") or body.get("functions"):
        yield "tools"
    wanted = body.get("response_format")
    if isinstance(wanted, dict) and wanted.get("type") == "json_schema":
        yield "json_schema"
    if body.get("thinking") or body.get("reasoning_effort") not in _NO_EFFORT:
        yield "reasoning"


def _guess(seen: _Seen, tools: object) -> int:
    described = _tokens(str(tools)) if isinstance(tools, list) and tools else 0.0
    return math.ceil(seen.tokens + described)


def _tokens(text: str) -> float:
    """By length: four bytes a token, three where the text is not English."""
    return len(text) / _ASCII_BYTES if text.isascii() else len(text.encode(errors="replace")) / _OTHER_BYTES


def _bounded(question: str, previous: str, config: ReadingConfig) -> str:
    """Begin and end of a long question; a short one after the end of the question before it."""
    if len(question) < config.follow_up_chars and previous:
        return f"{previous[-_PREVIOUS_CHARS:]}\n{question}"
    if len(question) <= config.max_chars:
        return question
    tail = config.max_chars // 4
    return f"{question[: config.max_chars - tail - 1]}\n{question[-tail:]}"


def _session(call: Call, messages: Sequence[Mapping[str, Any]], seen: _Seen) -> str | None:
    tenant, body = call.principal.tenant, call.body
    cache_key = body.get("prompt_cache_key")
    if call.options.session_id is not None:
        return _hash(tenant, "session", call.options.session_id)
    if isinstance(cache_key, str) and cache_key:
        return _hash(tenant, "cache_key", cache_key)
    if not messages or len(messages) > _MOST_MESSAGES or not seen.first:
        return None
    first = messages[0]
    system = first.get("content") if first.get("role") in ("system", "developer") else ""
    return _hash(tenant, "prefix", system if isinstance(system, str) else "", seen.first)


def _hash(*parts: str) -> str:
    state = blake2b(digest_size=16)
    for part in parts:
        state.update(part.encode(errors="replace") + b"\0")
    return state.hexdigest()


def _counts(body: Json, names: Sequence[str]) -> Iterator[int]:
    for name in names:
        value = body.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            yield value
