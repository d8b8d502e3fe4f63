"""Looks for an answer before a model is chosen, gives it once the call is counted, keeps fresh ones."""

from __future__ import annotations

from dataclasses import dataclass

from sentinella_plugins.cache.service import CacheService
from sentinella_plugins.kernel.call import Answered, Call, Outcome, Reply


@dataclass(frozen=True, slots=True)
class CacheLookup:
    service: CacheService

    async def enter(self, call: Call) -> Call:
        return await self.service.lookup(call)


class CacheAnswer:
    async def enter(self, call: Call) -> Call | Reply:
        answered = call.note(Answered)
        return call if answered is None else answered.reply


@dataclass(frozen=True, slots=True)
class CacheKeep:
    service: CacheService

    async def leave(self, call: Call, outcome: Outcome) -> None:
        await self.service.keep(call, outcome)
