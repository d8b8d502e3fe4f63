"""Calls that the gateway makes by itself: they walk the same corridor as everybody's."""

from __future__ import annotations

from time import perf_counter

from sentinella_plugins.gateway.conductor import Conductor
from sentinella_plugins.kernel.access import AUTO
from sentinella_plugins.kernel.asking import Question
from sentinella_plugins.kernel.call import Call, Options, Outcome
from sentinella_plugins.kernel.clock import Clock
from sentinella_plugins.kernel.errors import SentinellaError
from sentinella_plugins.kernel.ids import new_id
from sentinella_plugins.pipeline import Pipeline


class Inner:
    def __init__(self, pipeline: Pipeline, conductor: Conductor, clock: Clock) -> None:
        self._pipeline = pipeline
        self._conductor = conductor
        self._clock = clock

    async def ask(self, question: Question) -> Outcome:
        """See `kernel.asking.Ask`."""
        options = Options(
            cache={"mode": "bypass"},
            routing={"objective": "cheapest"} if question.model == AUTO else {},
        )
        call = Call(
            id=new_id("req"),
            route=f"internal/{question.purpose}",
            requested=question.model,
            model=question.model,
            body=question.body,
            given=question.body,
            options=options,
            principal=question.principal,
            received_at=self._clock.now(),
            started=perf_counter(),
        )
        call, reply = await self._pipeline.enter(call)
        if reply is None:
            return await self._conductor.ask(call)
        outcome = Outcome(status="success", body=reply.body, cached=True)
        await self._pipeline.leave(call, outcome)
        raise SentinellaError(f"`{reply.source}` answered what only a model may answer.")
