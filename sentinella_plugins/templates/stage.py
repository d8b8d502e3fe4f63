"""Puts the rendered messages before the call's own; on the way out counts what its version used."""

from __future__ import annotations

from sentinella_plugins.kernel.call import Call, Outcome
from sentinella_plugins.templates.service import TemplatesService


class TemplatesStage:
    def __init__(self, service: TemplatesService) -> None:
        self._service = service

    async def enter(self, call: Call) -> Call:
        return await self._service.use(call)

    async def leave(self, call: Call, outcome: Outcome) -> None:
        self._service.count(call, outcome)
