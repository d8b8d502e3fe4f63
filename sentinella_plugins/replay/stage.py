"""Answers what was asked before; on the way out keeps the answer and tells those who wait for it."""

from __future__ import annotations

from sentinella_plugins.kernel.call import Call, Outcome, Reply
from sentinella_plugins.replay.service import ReplayService


class ReplayStage:
    def __init__(self, service: ReplayService) -> None:
        self._service = service

    async def enter(self, call: Call) -> Call | Reply:
        return await self._service.enter(call)

    async def leave(self, call: Call, outcome: Outcome) -> None:
        await self._service.leave(call, outcome)
