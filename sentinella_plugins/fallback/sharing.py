"""Keeps the breakers of all workers alike. Without a database every worker goes by what it sees itself."""

from __future__ import annotations

import logging
import os
import secrets
import socket

from sentinella_plugins.fallback.breaker import Transition
from sentinella_plugins.fallback.breakers import Breakers
from sentinella_plugins.fallback.models import Notice
from sentinella_plugins.fallback.store import BreakerStore
from sentinella_plugins.kernel.clock import Clock
from sentinella_plugins.kernel.errors import Unavailable

logger = logging.getLogger(__name__)


class Sharing:
    def __init__(self, store: BreakerStore, breakers: Breakers, clock: Clock) -> None:
        self.owner = f"{socket.gethostname()[:32]}:{os.getpid()}:{secrets.token_hex(6)}"
        self._store = store
        self._breakers = breakers
        self._clock = clock
        self._untold: dict[str, Notice] = {}
        self._heard: dict[str, float] = {}
        self._away = False

    def tell(self, model: str, transition: Transition) -> None:
        """With the next round; only the latest word on a model counts."""
        now = self._clock.now()
        self._untold[model] = Notice(
            model=model,
            state=transition.to,
            until=now + (transition.until - self._clock.monotonic()),
            reason=transition.reason,
            updated_at=now,
            owner=self.owner,
        )

    async def round(self) -> None:
        try:
            await self._tell()
            await self._listen()
        except Unavailable as error:
            if not self._away:
                logger.warning("breakers are not shared between workers for now: %s", error)
            self._away = True
        else:
            self._away = False

    async def _tell(self) -> None:
        told = dict(self._untold)
        if not told:
            return
        await self._store.put(list(told.values()))
        for model, notice in told.items():
            if self._untold.get(model) is notice:
                del self._untold[model]

    async def _listen(self) -> None:
        for notice in await self._store.others(self.owner):
            if self._heard.get(notice.model) == notice.updated_at:
                continue
            self._heard[notice.model] = notice.updated_at
            self._adopt(notice)

    def _adopt(self, notice: Notice) -> None:
        now = self._clock.monotonic()
        until = now + (notice.until - self._clock.now())
        own = self._untold.get(notice.model)
        if own is None or own.updated_at < notice.updated_at:
            self._breakers.adopt(notice.model, notice.state, until, notice.reason, now)
