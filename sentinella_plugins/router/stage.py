"""Puts a model on calls that leave the choice to the gateway."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sentinella_plugins.kernel.access import AUTO
from sentinella_plugins.kernel.call import Call
from sentinella_plugins.router.service import RouterService

Allowed = Callable[[Call], Awaitable[Callable[[str], bool]]]


@dataclass(frozen=True, slots=True)
class RouterStage:
    """`allowed` tells for a call which models its tenant and key may use."""

    service: RouterService
    allowed: Allowed

    async def enter(self, call: Call) -> Call:
        if call.model != AUTO:
            self.service.check(call.model, call.route)
            return call
        choice = self.service.choose(await self.allowed(call), call.route)
        return call.evolve(model=choice.model).with_note(choice)
