"""Sessions, turns and messages ⇄ rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Row, and_

from sentinella_plugins.kernel.ids import new_id
from sentinella_plugins.memory.models import Head, Message, Place, Turn
from sentinella_plugins.storage.tables import session_messages as kept
from sentinella_plugins.storage.tables import sessions

MESSAGE = (
    kept.c.seq,
    kept.c.role,
    kept.c.body,
    kept.c.tokens,
    kept.c.bytes,
    kept.c.turn,
    kept.c.model,
    kept.c.at,
)


def mine(place: Place) -> ColumnElement[bool]:
    return and_(sessions.c.tenant == place.tenant, sessions.c.owner == place.owner, sessions.c.id == place.id)


def head_of(row: Row[Any]) -> Head:
    return Head(
        place=Place(row.tenant, row.owner, row.id),
        ref=row.ref,
        version=row.version,
        turns=row.turns,
        messages=row.messages,
        bytes=row.bytes,
        last_seq=row.last_seq,
        covered=row.covered,
        summary=row.summary,
        summary_kind=row.summary_kind,
        summary_tokens=row.summary_tokens,
        system=tuple(orjson.loads(row.system)),
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def message_of(row: Sequence[Any]) -> Message:
    """From the columns of `MESSAGE`."""
    seq, role, body, tokens, size, turn, model, at = row[:8]
    return Message(seq, role, orjson.loads(body), tokens, size, turn, model, at)


def new_row(turn: Turn) -> dict[str, object]:
    place = turn.place
    return {
        "tenant": place.tenant,
        "owner": place.owner,
        "id": place.id,
        "ref": new_id("sess"),
        "version": 0,
        "turns": 0,
        "messages": 0,
        "bytes": 0,
        "last_seq": 0,
        "covered": 0,
        "summary": None,
        "summary_kind": None,
        "summary_tokens": 0,
        "summarising_until": 0.0,
        "system": "[]",
        "created_at": turn.at,
        "updated_at": turn.at,
    }


def message_rows(turn: Turn, ref: str, last_seq: int) -> list[dict[str, object]]:
    return [
        {
            "ref": ref,
            "seq": seq,
            "tenant": turn.place.tenant,
            "turn": turn.call_id,
            "role": entry.role,
            "body": entry.text,
            "tokens": entry.tokens,
            "bytes": entry.bytes,
            "model": entry.model,
            "at": turn.at,
        }
        for seq, entry in enumerate(turn.entries, last_seq + 1)
    ]
