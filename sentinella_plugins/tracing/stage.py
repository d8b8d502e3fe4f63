"""The first to see a call come and the last but the webhooks to see it go."""

from __future__ import annotations

from dataclasses import dataclass

from sentinella_plugins.kernel.call import Call, Outcome
from sentinella_plugins.tracing.service import TracingService


@dataclass(frozen=True, slots=True)
class TracingStage:
    service: TracingService

    async def enter(self, call: Call) -> Call:
        self.service.enter(call)
        return call

    async def leave(self, call: Call, outcome: Outcome) -> None:
        self.service.leave(call, outcome)
