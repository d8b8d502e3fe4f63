"""Tells of failures that calls survive."""

from __future__ import annotations

from dataclasses import dataclass

from sentinella_plugins.kernel.clock import Clock
from sentinella_plugins.kernel.events import Events, PartFailed

_EVERY_S = 1.0


@dataclass(slots=True)
class Trouble:
    events: Events | None
    clock: Clock
    _seldom_from: float = float("-inf")

    async def tell(self, error: str) -> None:
        if self.events is not None:
            await self.events.publish(PartFailed(at=self.clock.now(), tenant="", part="router", error=error))

    async def tell_seldom(self, error: str) -> None:
        """At most once a second."""
        now = self.clock.monotonic()
        if now >= self._seldom_from:
            self._seldom_from = now + _EVERY_S
            await self.tell(error)
