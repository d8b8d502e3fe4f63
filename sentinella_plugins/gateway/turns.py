"""One turn of a conversation: what the model is asked, and what it wants of our tools before it answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from sentinella_plugins.kernel.call import Call, Json, Usage
from sentinella_plugins.kernel.clock import Clock
from sentinella_plugins.kernel.money import Nano
from sentinella_plugins.tools.bounds import Loop
from sentinella_plugins.tools.conversation import calls_of, continued, event
from sentinella_plugins.tools.models import Toolbox
from sentinella_plugins.tools.service import ToolsService

Tell = Callable[[Json], Awaitable[None]]


async def _nobody(_event: Json) -> None: ...


class Turn:
    """`asked` is the call as the model is asked next, `usage` what its answers have used so far."""

    def __init__(self, call: Call, tools: ToolsService, clock: Clock) -> None:
        self.asked = call
        self.usage = Usage()
        self._tools = tools
        self._clock = clock
        self._toolbox = call.note(Toolbox)
        self.loop: Loop | None = tools.loop(self._toolbox) if self._toolbox is not None else None
        self._given = len(_messages(call))

    @property
    def between(self) -> tuple[Json, ...]:
        """The calls of our tools and their results, in their order."""
        return tuple(_messages(self.asked)[self._given :])

    def used(self, usage: Usage) -> Usage:
        self.usage = Usage(
            prompt=self.usage.prompt + usage.prompt,
            completion=self.usage.completion + usage.completion,
            cached=self.usage.cached + usage.cached,
            reasoning=self.usage.reasoning + usage.reasoning,
        )
        return self.usage

    async def goes_on(self, message: Json, paid: Nano, tell: Tell = _nobody) -> bool:
        """Runs what the message asks of our tools; whether the model is to be asked again."""
        if self.loop is None or self._toolbox is None:
            return False
        self.loop.spend(Nano(paid - self.loop.cost))
        calls = calls_of(message)
        if not calls or self.loop.stops(calls, self._clock.monotonic()):
            return False
        for each in calls:
            await tell(event(each, "started"))
        results = await self._tools.run(self._toolbox, calls, deadline=self.loop.deadline)
        for each, result in zip(calls, results, strict=True):
            await tell(event(each, "finished", result))
        self.loop.ran(results)
        self.asked = self.asked.evolve(body=continued(self.asked.body, message, results))
        return True


def _messages(call: Call) -> Sequence[Json]:
    found: Any = call.body.get("messages")
    return found if isinstance(found, list) else ()
