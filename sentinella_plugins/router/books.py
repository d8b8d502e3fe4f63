"""What is written down when a call has ended."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from sentinella_plugins.kernel.call import Call, Choice, Outcome
from sentinella_plugins.kernel.clock import Clock
from sentinella_plugins.router.config import Metric, RouterConfig
from sentinella_plugins.router.experiments import key_of, measured
from sentinella_plugins.router.journal import Journal, Note
from sentinella_plugins.router.learning import ALL, Live
from sentinella_plugins.router.models import Features
from sentinella_plugins.router.outcomes import measurements, samples
from sentinella_plugins.router.request import Request, read
from sentinella_plugins.router.sessions import Sessions
from sentinella_plugins.router.tallies import Tallies
from sentinella_plugins.router.weighing import Decided
from sentinella_plugins.vectors.models import Encoding

UNREAD = 2_000
_AT_ONCE = 20
Read = Callable[[Request, Encoding | None], Features]


@dataclass(frozen=True, slots=True)
class _Unread:
    """A call that named its model: nobody waits for its features."""

    note: Note
    request: Request
    encoding: Encoding | None


@dataclass(slots=True)
class Books:
    """Calls that named their model are read later (`catch_up`); beyond `UNREAD` the oldest are left out."""

    config: RouterConfig
    live: Live
    tallies: Tallies
    journal: Journal
    sessions: Sessions
    clock: Clock
    read: Read
    predictor: str
    _unread: deque[_Unread] = field(default_factory=lambda: deque(maxlen=UNREAD))

    def leave(self, call: Call, outcome: Outcome) -> None:
        choice = call.note(Choice) or Choice(call.model, "requested")
        decided = call.note(Decided)
        if decided is not None and decided.features is not None:
            return self._write(Note(call, decided, choice, self.predictor, outcome))
        request = read(call, self.config.reading)
        decided = replace(decided or Decided(request=request), request=request.without_text())
        note = Note(call, decided, choice, self.predictor, outcome).slim()
        self._unread.append(_Unread(note, request, call.note(Encoding)))

    async def catch_up(self) -> None:
        while self._unread:
            for _ in range(min(_AT_ONCE, len(self._unread))):
                self._read(self._unread.popleft())
            await asyncio.sleep(0)

    def measure(self, experiment: str, arm: str, metric: Metric, value: float) -> None:
        """For an experiment that runs still, as it runs now, if that is what it compares."""
        if any(key_of(one) == experiment and one.metric == metric for one in self.config.experiments):
            self.tallies.add(("experiment", experiment, arm), measured(metric, value))

    def _read(self, unread: _Unread) -> None:
        features = self.read(unread.request, unread.encoding)
        encoded = unread.encoding is not None
        decided = replace(unread.note.decided, features=features, encoded=encoded)
        self._write(replace(unread.note, decided=decided))

    def _write(self, note: Note) -> None:
        decided, outcome = note.decided, note.outcome
        if outcome is None:
            return
        task = decided.features.task if decided.features else ALL
        weighed = decided.weighed
        foreseen = weighed.foreseen_of if weighed else (lambda _model: 0.0)
        for model, sample in samples(outcome, decided.request.choices, foreseen):
            self.live.record(model, task, sample, self.clock.now())
        if decided.arm is not None:
            for metric, value in measurements(outcome):
                self.measure(decided.arm.key, decided.arm.name, metric, value)
        if decided.request.session is not None and outcome.status == "success":
            self.sessions.put(decided.request.session, outcome.model)
        self.journal.put(note)
