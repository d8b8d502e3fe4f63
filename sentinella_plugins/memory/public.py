"""Sessions and messages as clients see them. Times in Unix seconds."""

from __future__ import annotations

from sentinella_plugins.kernel.call import Json
from sentinella_plugins.memory.models import Head, Message


def session_json(head: Head) -> Json:
    return {
        "id": head.place.id,
        "object": "session",
        "created_at": int(head.created_at),
        "updated_at": int(head.updated_at),
        "turns": head.turns,
        "messages": head.messages,
        "bytes": head.bytes,
        "system": list(head.system),
        "summary": head.summary,
        "summary_kind": head.summary_kind,
        "summarised_messages": head.covered,
        "key_id": head.place.owner or None,
    }


def message_json(head: Head, message: Message) -> Json:
    """The message as it was said, beside what is known of it."""
    return {
        "id": f"msg_{message.seq}",
        "object": "session.message",
        "created_at": int(message.at),
        "session_id": head.place.id,
        "role": message.role,
        "message": message.body,
        "tokens": message.tokens,
        "model": message.model,
        "request_id": message.turn,
    }
