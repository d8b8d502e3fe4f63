"""What the demo upstream says."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise

import orjson

from .brain import Brain
from .exchange import Answer, Ask, Finish, ToolCall, Usage, call_id
from .rules import Reply
from .samples import sample

WORDS = re.compile(r"\s*\S+|\s+$")
ECHO = 120
QUOTE = 400
PLAIN = Reply()


class Author:
    def __init__(self, brain: Brain | None = None) -> None:
        self._brain = brain

    @property
    def name(self) -> str:
        return "smollm2" if self._brain else "canned"

    async def answer(self, provider: str, ask: Ask, reply: Reply) -> Answer:
        if reply is not PLAIN and reply != PLAIN:
            return scripted(provider, ask, reply)
        if tool := ask.wanted_tool:
            call = ToolCall(tool.name, sample(tool.schema, "value"), call_id())
            return Answer(calls=(call,), finish="tool_calls")
        if self._brain and ask.schema is None and ask.tool_result is None:
            return await thought(self._brain, provider, ask)
        return limited(ask, words(spoken(provider, ask)))


async def thought(brain: Brain, provider: str, ask: Ask) -> Answer:
    note = f"[Sentinella demo: SmolLM2-135M on this machine, not {provider}/{ask.model}] "
    prefix = limited(ask, words(note))
    if ask.max_tokens and len(prefix.pieces) >= ask.max_tokens:
        return replace(prefix, finish="length")
    live = await brain.begin(ask.turns, ask.max_tokens and ask.max_tokens - len(prefix.pieces))
    return replace(prefix, live=live) if live else limited(ask, words(spoken(provider, ask)))


def spoken(provider: str, ask: Ask) -> str:
    if ask.schema is not None:
        return orjson.dumps(sample(ask.schema)).decode()
    if ask.tool_result is not None:
        quote = shortened(ask.tool_result, QUOTE)
        return f"The tool answered: {quote}\n\n(Sentinella's demo upstream: no real provider was asked.)"
    return (
        f"This is Sentinella's demo upstream: no real provider was asked and nothing was charged. "
        f"You asked {provider}/{ask.model}: “{shortened(ask.question, ECHO)}”. "
        f"Set a provider's API key to get a real answer."
    )


def scripted(provider: str, ask: Ask, reply: Reply) -> Answer:
    calls = tuple(ToolCall(c.name, c.arguments or {}, c.id or call_id()) for c in reply.tool_calls or ())
    silent = calls and reply.text is None and reply.chunks is None
    answer = Answer() if silent else limited(ask, scripted_pieces(provider, ask, reply))
    finish: Finish = "tool_calls" if calls else answer.finish
    told = reply.usage
    usage = Usage(told.prompt, told.completion, told.cached) if told else None
    return replace(answer, calls=calls, finish=reply.finish_reason or finish, usage=usage)


def scripted_pieces(provider: str, ask: Ask, reply: Reply) -> tuple[str, ...]:
    if isinstance(reply.chunks, list):
        return tuple(reply.chunks)
    if reply.chunks is None:
        return words(spoken(provider, ask) if reply.text is None else reply.text)
    if reply.text is None:
        return tuple(f"word{i} " for i in range(1, reply.chunks + 1))
    return divided(reply.text, reply.chunks)


def divided(text: str, parts: int) -> tuple[str, ...]:
    edges = [round(i * len(text) / parts) for i in range(parts + 1)]
    return tuple(text[a:b] for a, b in pairwise(edges))


def words(text: str) -> tuple[str, ...]:
    return tuple(WORDS.findall(text))


def limited(ask: Ask, pieces: tuple[str, ...]) -> Answer:
    if ask.max_tokens is not None and len(pieces) > ask.max_tokens:
        return Answer(pieces[: ask.max_tokens], finish="length")
    return Answer(pieces)


def shortened(text: str, limit: int) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"
