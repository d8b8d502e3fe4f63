"""Reserves on the way in, settles on the way out."""

from __future__ import annotations

from sentinella_plugins.kernel.call import Call, Outcome
from sentinella_plugins.tenancy.service import TenancyService


class TenancyGlance:
    def __init__(self, service: TenancyService) -> None:
        self._service = service

    async def enter(self, call: Call) -> Call:
        await self._service.glance(call)
        return call


class TenancyStage:
    def __init__(self, service: TenancyService) -> None:
        self._service = service

    async def enter(self, call: Call) -> Call:
        return await self._service.reserve(call)

    async def leave(self, call: Call, outcome: Outcome) -> None:
        await self._service.settle(call, outcome)
