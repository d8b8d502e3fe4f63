"""Messages of a call: taken apart, measured, and made fit to be kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

import orjson

from sentinella_plugins.kernel.call import Call, Json, Outcome
from sentinella_plugins.memory.models import Entry, Message, MessageTooLarge, Said, Turn

TEXT_ROLES = ("system", "developer")
RESULT_ROLES = ("tool", "function")
_KEPT = ("role", "content", "name", "tool_calls", "function_call", "refusal", "audio")
_LONGEST_MODEL = 256


def take_apart(messages: Iterable[object]) -> Said:
    given = [cast("Json", message) for message in messages if isinstance(message, Mapping)]
    return Said(
        system=tuple(message for message in given if message.get("role") in TEXT_ROLES),
        turn=tuple(message for message in given if message.get("role") not in TEXT_ROLES),
    )


def answer_of(outcome: Outcome) -> Json | None:
    """The assistant's message of a success: without what only answers have, which not every provider takes
    back."""
    if outcome.status != "success" or outcome.body is None:
        return None
    choices = outcome.body.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    message = first.get("message") if isinstance(first, Mapping) else None
    return sendable(message) if isinstance(message, Mapping) else None


def sendable(message: Json) -> Json:
    """An assistant's message as it can be sent again."""
    kept = {name: message[name] for name in _KEPT if message.get(name) not in (None, [])}
    kept["role"] = "assistant"
    audio = kept.get("audio")
    if isinstance(audio, Mapping):
        kept["audio"] = {"id": audio.get("id")}
    if not {"content", "tool_calls", "function_call", "refusal"} & kept.keys():
        kept["content"] = ""
    return kept


def entry_of(message: Json, tokens: int, model: str | None = None) -> Entry:
    text = orjson.dumps(message).decode()
    name = model and model[:_LONGEST_MODEL]
    return Entry(
        role=str(message.get("role"))[:16], text=text, tokens=tokens, bytes=len(text.encode()), model=name
    )


def check_sizes(said: Said, most: int) -> int:
    """The bytes of the turn; `MessageTooLarge` when one message alone is above the limit."""
    sizes = [len(orjson.dumps(message)) for message in (*said.system, *said.turn)]
    if any(size > most for size in sizes):
        raise MessageTooLarge(f"A message of a session may have {most} bytes at most.", param="messages")
    return sum(sizes[len(said.system) :])


def text_of(message: Json) -> str:
    """What a message says, for a reader: images and files by name of their kind, tool calls as they stand."""
    content = message.get("content")
    parts = content if isinstance(content, list) else [content]
    said = [_part(part) for part in parts if part]
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, list) else ():
        function = call.get("function") if isinstance(call, Mapping) else None
        if isinstance(function, Mapping):
            said.append(f"[calls {function.get('name')}({function.get('arguments')})]")
    return "\n".join(said)


def user_of(call: Call) -> str | None:
    user = call.body.get("user")
    return user if isinstance(user, str) and user else None


def _part(part: object) -> str:
    if isinstance(part, str):
        return part
    if not isinstance(part, Mapping):
        return ""
    text = part.get("text")
    return text if isinstance(text, str) else f"[{part.get('type', 'part')}]"


def messages_of(turn: Turn, last_seq: int) -> tuple[Message, ...]:
    """A turn as it was kept, its last message having this number."""
    return tuple(
        Message(
            seq=seq,
            role=entry.role,
            body=orjson.loads(entry.text),
            tokens=entry.tokens,
            bytes=entry.bytes,
            turn=turn.call_id,
            model=entry.model,
            at=turn.at,
        )
        for seq, entry in enumerate(turn.entries, last_seq - len(turn.entries) + 1)
    )
