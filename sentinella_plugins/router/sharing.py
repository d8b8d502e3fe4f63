"""What the workers tell each other through the database."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from sentinella_plugins.kernel.clock import Clock
from sentinella_plugins.kernel.errors import Unavailable
from sentinella_plugins.router.config import RouterConfig
from sentinella_plugins.router.journal import Journal, Note
from sentinella_plugins.router.learning import Live
from sentinella_plugins.router.models import Entry
from sentinella_plugins.router.profiles import Profiles
from sentinella_plugins.router.store import TRIM, RouterStore
from sentinella_plugins.router.tallies import Tallies

logger = logging.getLogger(__name__)
_OVERLAP_S = 15.0
_TRIM_EVERY_S = 60.0
_MOST_TENANTS = 100
_FORGOTTEN_HALF_LIVES = 20
_TALLIES_KEPT_S = 90 * 86_400.0


@dataclass(slots=True)
class Sharing:
    """After an outage it goes on with what it had; decisions beyond `max_pending` are lost."""

    config: RouterConfig
    store: RouterStore
    clock: Clock
    live: Live
    tallies: Tallies
    journal: Journal
    profiles: Profiles
    _heard: float = 0.0
    _trim_at: float = 0.0

    async def round(self) -> None:
        await self._write_decisions()
        await self._share_stats()
        await self._share_tallies()
        await self._load_profiles()
        await self._trim()

    async def _write_decisions(self) -> None:
        notes = self.journal.take()
        if not notes:
            return
        try:
            await self.store.keep_decisions(await asyncio.to_thread(_entries, notes))
        except Unavailable:
            self.journal.give_back(notes)
            raise

    async def _share_stats(self) -> None:
        half_life, news = self.config.learning.half_life_s, self.live.take()
        try:
            await self.store.merge_stats(news, self.clock.now(), half_life)
        except Unavailable:
            self.live.give_back(news)
            raise
        self.live.adopt(await self.store.stats(self.clock.now(), half_life), self.clock.now())

    async def _share_tallies(self) -> None:
        news = self.tallies.take()
        try:
            await self.store.merge_tallies(news, self.clock.now())
        except Unavailable:
            self.tallies.give_back(news)
            raise
        self.tallies.adopt(await self.store.tallies())

    async def _load_profiles(self) -> None:
        heard, self._heard = self._heard, self.clock.now()
        if heard:
            self.profiles.adopt(await self.store.profiles_since(heard - _OVERLAP_S))
        for tenant in sorted(self.profiles.wanted)[:_MOST_TENANTS]:
            self.profiles.load(tenant, await self.store.profiles(tenant))

    async def _trim(self) -> None:
        now, journal = self.clock.now(), self.config.journal
        if now < self._trim_at:
            return
        self._trim_at = now + _TRIM_EVERY_S
        while await self.store.trim_decisions(journal.keep, now - journal.keep_s) >= TRIM:
            pass
        await self.store.forget_stats(now - _FORGOTTEN_HALF_LIVES * self.config.learning.half_life_s)
        await self.store.forget_tallies(now - _TALLIES_KEPT_S)


def _entries(notes: list[Note]) -> list[Entry]:
    return [note.entry() for note in notes]
