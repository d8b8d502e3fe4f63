"""The statements of every reserve and settle, as text: preparing them in Core costs more than a run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

Expiries = Sequence[tuple[str, float | None]]

_SAVE = (
    "INSERT INTO counters (key, value, expires_at) VALUES ({0}, {0}, {0}) "
    "ON CONFLICT (key) DO UPDATE SET value = excluded.value"
)
_KEEP = "INSERT INTO reservations (id, owner, claims, memo, created_at) VALUES ({0}, {0}, {0}, {0}, {0})"
_TAKE = "DELETE FROM reservations WHERE id {} RETURNING id, owner, claims, memo"


@dataclass(frozen=True, kw_only=True, slots=True)
class Statements:
    """`take` and `load` come with a function that makes their parameters."""

    take: str
    take_parameters: Callable[[Sequence[str]], tuple[object, ...]]
    load: str
    load_parameters: Callable[[Expiries], tuple[object, ...]]
    save: str
    keep: str


def _json(values: Iterable[str]) -> tuple[object, ...]:
    return (json.dumps(list(values)),)


SQLITE = Statements(
    take=_TAKE.format("IN (SELECT value FROM json_each(?))"),
    take_parameters=_json,
    load="SELECT key, value, expires_at FROM counters WHERE key IN (SELECT value FROM json_each(?))",
    load_parameters=lambda expiries: _json(key for key, _ in expiries),
    save=_SAVE.format("?"),
    keep=_KEEP.format("?"),
)

# Loading makes and locks the rows in the order of their keys, so two workers never wait crosswise.
POSTGRESQL = Statements(
    take=_TAKE.format("= ANY(%s)"),
    take_parameters=lambda ids: (list(ids),),
    load="INSERT INTO counters (key, value, expires_at) "
    "SELECT key, 0, expires_at FROM unnest(%s::text[], %s::float8[]) AS wanted (key, expires_at) "
    "ORDER BY key "
    "ON CONFLICT (key) DO UPDATE SET value = counters.value RETURNING key, value, expires_at",
    load_parameters=lambda expiries: (
        [key for key, _ in expiries],
        [expires_at for _, expires_at in expiries],
    ),
    save=_SAVE.format("%s"),
    keep=_KEEP.format("%s"),
)

STATEMENTS = {"sqlite": SQLITE, "postgresql": POSTGRESQL}
