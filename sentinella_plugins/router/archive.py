"""Decisions that were made, for those whose they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from sentinella_plugins.kernel.call import Principal
from sentinella_plugins.router.journal import Journal
from sentinella_plugins.router.models import Entry, NoDecision, Observation
from sentinella_plugins.router.store import RouterStore


@dataclass(frozen=True, slots=True)
class Archive:
    """Admins may ask about all tenants. Raises `NoDecision`."""

    journal: Journal
    store: RouterStore | None

    async def document(self, who: Principal, request_id: str) -> Mapping[str, object]:
        """Also of a call that is not answered yet."""
        note = self.journal.find(request_id)
        if note is None:
            return parsed(await self.entry(who, request_id))
        _check(who, note.call.principal.tenant)
        return note.document()

    async def entry(self, who: Principal, request_id: str) -> Entry:
        note = self.journal.find(request_id)
        entry = note.entry() if note is not None and note.outcome is not None else None
        if entry is None and self.store is not None:
            entry = await self.store.decision(request_id)
        if entry is None:
            raise NoDecision
        _check(who, entry.tenant)
        return entry


def scored(entry: Entry, key_id: str, score: float, comment: str, now: float) -> Observation:
    """Feedback on a call: one for each key."""
    return Observation(
        tenant=entry.tenant,
        id=f"feedback:{entry.request_id}:{key_id}",
        model=entry.model,
        task=_text(entry, "features", "task"),
        source="feedback",
        score=score,
        comment=comment,
        predictor=entry.predictor,
        values=entry.values,
        at=now,
    )


def arm(entry: Entry) -> tuple[str, str]:
    """The experiment's key and the call's side of it; empty for none."""
    return _text(entry, "experiment", "key"), _text(entry, "experiment", "arm")


def parsed(entry: Entry) -> Mapping[str, object]:
    found = orjson.loads(entry.document)
    return found if isinstance(found, dict) else {}


def _check(who: Principal, tenant: str) -> None:
    if who.role != "admin" and who.tenant != tenant:
        raise NoDecision


def _text(entry: Entry, part: str, name: str) -> str:
    found = parsed(entry).get(part)
    value = found.get(name) if isinstance(found, dict) else None
    return value if isinstance(value, str) else ""
