"""Puts a model on calls that leave the choice to the gateway, and learns from their end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sentinella_plugins.kernel.access import AUTO
from sentinella_plugins.kernel.call import Answered, Call, Outcome
from sentinella_plugins.router.models import Policy
from sentinella_plugins.router.service import RouterService

Policies = Callable[[Call], Awaitable[Policy]]


@dataclass(frozen=True, slots=True)
class RouterStage:
    """`policy` tells what the tenant and key of a call may use and want."""

    service: RouterService
    policy: Policies

    async def enter(self, call: Call) -> Call:
        if call.note(Answered):
            return call
        if call.model == AUTO:
            return await self.service.choose(call, await self.policy(call))
        self.service.check(call.model, call.route)
        if self.service.experiments_with(call.model):
            return self.service.replace(call, await self.policy(call))
        return call

    async def leave(self, call: Call, outcome: Outcome) -> None:
        self.service.leave(call, outcome)
