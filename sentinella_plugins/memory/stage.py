"""Puts the history before the new turn; on the way out keeps the turn."""

from __future__ import annotations

from sentinella_plugins.kernel.call import Call, Outcome
from sentinella_plugins.memory.service import MemoryService


class MemoryStage:
    def __init__(self, service: MemoryService) -> None:
        self._service = service

    async def enter(self, call: Call) -> Call:
        return await self._service.enter(call)

    async def leave(self, call: Call, outcome: Outcome) -> None:
        await self._service.leave(call, outcome, outcome.turn)
