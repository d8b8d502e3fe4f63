"""The decisions of a worker: the latest in memory, all on their way to the database."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, replace

import orjson

from sentinella_plugins.kernel.call import Call, Choice, Outcome
from sentinella_plugins.router import explanation
from sentinella_plugins.router.config import JournalConfig
from sentinella_plugins.router.models import Entry
from sentinella_plugins.router.profiles import kept
from sentinella_plugins.router.weighing import Decided


@dataclass(frozen=True, slots=True)
class Note:
    """What an explanation is made of, once somebody wants it or it is written down."""

    call: Call
    decided: Decided
    choice: Choice
    predictor: str
    outcome: Outcome | None = None

    def slim(self) -> Note:
        """Without the texts of the call."""
        call = self.call.evolve(body={}, headers={}, notes={}, credential=None)
        return replace(self, call=call, outcome=self.outcome and replace(self.outcome, body=None, error=None))

    def document(self) -> dict[str, object]:
        made = explanation.document(self.call, self.decided, self.choice, self.predictor)
        if self.outcome is not None:
            made["outcome"] = explanation.outcome(self.outcome)
        return made

    def entry(self) -> Entry:
        features, outcome = self.decided.features, self.outcome
        return Entry(
            request_id=self.call.id,
            tenant=self.call.principal.tenant,
            session=self.decided.request.session,
            model=(outcome.model if outcome else "") or self.choice.model,
            predictor=self.predictor,
            values=b"" if features is None else kept(features.values),
            document=orjson.dumps(self.document()).decode(),
            at=self.call.received_at,
        )


class Journal:
    def __init__(self, config: JournalConfig) -> None:
        self._recent: OrderedDict[str, Note] = OrderedDict()
        self._size = config.recent
        self._pending: deque[Note] = deque(maxlen=config.max_pending if config.keep else 0)

    def put(self, note: Note) -> None:
        slim = note.slim()
        self._recent[note.call.id] = slim
        self._recent.move_to_end(note.call.id)
        while len(self._recent) > self._size:
            self._recent.popitem(last=False)
        if note.outcome is not None:
            self._pending.append(slim)

    def forget(self, tenant: str) -> None:
        for key in [key for key, note in self._recent.items() if note.call.principal.tenant == tenant]:
            del self._recent[key]
        left = [note for note in self.take() if note.call.principal.tenant != tenant]
        self._pending.extend(left)

    def find(self, request_id: str) -> Note | None:
        return self._recent.get(request_id)

    def take(self) -> list[Note]:
        taken = list(self._pending)
        self._pending.clear()
        return taken

    def give_back(self, notes: list[Note]) -> None:
        """As far as there is room; the oldest are lost first."""
        newer = self.take()
        self._pending.extend((*notes, *newer))
