"""Which part of a history is shown to a model: the newest whole turns that there is room for."""

from __future__ import annotations

from collections.abc import Sequence

from sentinella_plugins.kernel.call import Json
from sentinella_plugins.kernel.catalogue import ModelCard
from sentinella_plugins.memory.config import MemoryConfig
from sentinella_plugins.memory.messages import RESULT_ROLES
from sentinella_plugins.memory.models import Message


def room(config: MemoryConfig, card: ModelCard | None, body: Json, own_tokens: int) -> int:
    """Tokens for history and summary; `own_tokens` are those of the call without them."""
    if card is None or card.context_window is None:
        return config.max_history_tokens
    left = card.context_window - reserved(config, card, body) - own_tokens
    return max(0, min(config.max_history_tokens, left))


def reserved(config: MemoryConfig, card: ModelCard, body: Json) -> int:
    """What the answer may take of the context window."""
    for name in ("max_completion_tokens", "max_tokens"):
        asked = body.get(name)
        if isinstance(asked, int) and asked > 0:
            return asked
    return min(config.reserve_output_tokens, card.max_output_tokens or config.reserve_output_tokens)


def fit(tail: Sequence[Message], turn: Sequence[Json], tokens: int) -> Sequence[Message]:
    """The end of `tail` (oldest first) that has at most `tokens`, beginning with a whole turn where one fits.

    A turn that brings results of tools needs the calls that asked for them: these stay, whatever they take.
    """
    return tail[min(_start(tail, tokens), _needed(tail, turn)) :]


def paired(history: Sequence[Json], turn: Sequence[Json]) -> list[Json]:
    """The history without calls that nobody answered and results that nobody asked for: no provider takes
    them."""
    whole = [*history, *turn]
    kept: list[Json] = []
    at = 0
    while at < len(history):
        message = whole[at]
        end = _end_of_results(whole, at + 1)
        results = whole[at + 1 : min(end, len(history))]
        at += 1
        if message.get("role") == "tool":
            continue
        asked = _asked(message)
        if not asked:
            kept.append(message)
        elif asked <= {result.get("tool_call_id") for result in whole[at:end]}:
            first = {one.get("tool_call_id"): one for one in reversed(results)}
            kept += [message, *(one for identity, one in reversed(first.items()) if identity in asked)]
        elif message.get("content"):
            kept.append({name: value for name, value in message.items() if name != "tool_calls"})
    return kept


def cut_for_summary(messages: Sequence[Message], most: int) -> int:
    """How many of the oldest may be summarised, at most `most`, so that a whole turn comes after them."""
    reach = range(min(most, len(messages) - 1), 0, -1)
    whole = next((at for at in reach if messages[at].role == "user"), 0)
    return whole or next((at for at in reach if messages[at].role not in RESULT_ROLES), 0)


def _start(tail: Sequence[Message], tokens: int) -> int:
    """`len(tail)` when nothing fits."""
    whole = part = len(tail)
    left = tokens
    for at in range(len(tail) - 1, -1, -1):
        message = tail[at]
        left -= message.tokens
        if left < 0:
            break
        if message.role not in RESULT_ROLES:
            part = at
            whole = at if message.role == "user" or at == 0 else whole
    return part if whole == len(tail) else whole


def _needed(tail: Sequence[Message], turn: Sequence[Json]) -> int:
    if not turn or turn[0].get("role") not in RESULT_ROLES:
        return len(tail)
    calls = (at for at in range(len(tail) - 1, -1, -1) if tail[at].role not in RESULT_ROLES)
    return next(calls, len(tail))


def _end_of_results(messages: Sequence[Json], start: int) -> int:
    end = start
    while end < len(messages) and messages[end].get("role") == "tool":
        end += 1
    return end


def _asked(message: Json) -> set[object]:
    calls = message.get("tool_calls")
    return {call.get("id") for call in calls if isinstance(call, dict)} if isinstance(calls, list) else set()
