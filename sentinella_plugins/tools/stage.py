"""Hands a call the tools that the gateway runs for it."""

from __future__ import annotations

from dataclasses import dataclass

from sentinella_plugins.kernel.call import Call
from sentinella_plugins.tools.service import ToolsService


@dataclass(frozen=True, slots=True)
class ToolsStage:
    service: ToolsService

    async def enter(self, call: Call) -> Call:
        return await self.service.attach(call)
