"""Answers calls from what is kept, keeps what is answered, and learns how often it was right."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from random import Random

from sentinella_plugins.cache.checks import Checks, Learned
from sentinella_plugins.cache.config import CacheConfig
from sentinella_plugins.cache.courtesy import asked_of
from sentinella_plugins.cache.follower import Follower
from sentinella_plugins.cache.invalidation import Invalidation, matching
from sentinella_plugins.cache.keeper import Keeper
from sentinella_plugins.cache.lookup import Allowed, Lookup
from sentinella_plugins.cache.models import Checked, Meaning, Stats
from sentinella_plugins.cache.raw import RawEntries
from sentinella_plugins.cache.semantic import Semantic
from sentinella_plugins.cache.shelf import Shelf
from sentinella_plugins.cache.snapshot import IndexFile
from sentinella_plugins.cache.store import Books
from sentinella_plugins.cache.tally import Tally
from sentinella_plugins.kernel.asking import Ask
from sentinella_plugins.kernel.call import Call, Outcome
from sentinella_plugins.kernel.clock import Clock
from sentinella_plugins.kernel.errors import Unavailable
from sentinella_plugins.kernel.events import Events, PartFailed
from sentinella_plugins.storage.database import Database
from sentinella_plugins.storage.entries import Entries, Entry, Size

logger = logging.getLogger(__name__)
_RANDOM = Random()  # noqa: S311 - chooses what is checked, guards nothing
_REPORT_EVERY_S = 1.0
_PAGE = 500


class CacheService:
    """`run` must run: it writes what is kept and follows the other workers.

    Without `meaning` only equal requests are answered; without `ask` nothing is asked afresh. `allowed` tells
    which models a call may use; snapshots of the index are written into `folder`.
    """

    def __init__(
        self,
        database: Database,
        entries: Entries,
        events: Events,
        clock: Clock,
        config: CacheConfig,
        meaning: Meaning | None = None,
        *,
        folder: Path | None = None,
        allowed: Allowed | None = None,
        on_lag: Callable[[float], None] = lambda _seconds: None,
        on_check: Callable[[bool], None] = lambda _ok: None,
        random: Callable[[], float] = _RANDOM.random,
    ) -> None:
        self.ask: Ask | None = None
        self._entries = entries
        self._events = events
        self._clock = clock
        self._config = config
        self._on_check = on_check
        self._books = Books(database)
        self._tally = Tally(self._books)
        self._shelf = Shelf(entries, clock, config)
        self._learned = Learned(config, _floor(meaning, config))
        self._semantic = _semantic(meaning, entries, config)
        self._checks = self._make_checks(random)
        self._lookup = Lookup(
            self._shelf, self._semantic, self._learned, clock, config, allowed, self._report
        )
        self._keeper = Keeper(
            self._shelf,
            self._semantic,
            self._lookup,
            self._checks,
            self._tally,
            clock,
            config,
            lambda: self.ask,
        )
        self._follower = Follower(
            entries, self._semantic, self._shelf, clock, on_lag, self._make_file(folder)
        )
        self.raw = RawEntries(self._shelf, clock, config)
        self._seq = 0
        self._connected = True
        self._report_from = self._trim_from = clock.monotonic()

    def _make_checks(self, random: Callable[[], float]) -> Checks | None:
        if self._semantic is None:
            return None
        return Checks(
            self._semantic,
            self._shelf,
            self._learned,
            self._record,
            self._clock,
            self._config,
            random,
        )

    def _make_file(self, folder: Path | None) -> IndexFile | None:
        if self._semantic is None or folder is None:
            return None
        return IndexFile(folder / "cache.index", self._semantic, self._clock, self._config.snapshot_s)

    async def lookup(self, call: Call) -> Call:
        """See `Lookup.enter`."""
        return await self._lookup.enter(call)

    async def keep(self, call: Call, outcome: Outcome) -> None:
        self._keeper.leave(call, outcome)

    async def run(self) -> None:
        """Until cancelled."""
        await asyncio.gather(self._write_on(), self._follow_on())

    async def round(self) -> None:
        """Reads what other workers did and clears up when it is time. Raises `Unavailable`."""
        await self._follower.round()
        await self._learn()
        await self._tally.flush()
        if self._clock.monotonic() >= self._trim_from:
            self._trim_from = self._clock.monotonic() + self._config.trim_interval_s
            await self.clear_up()

    async def write(self) -> None:
        """Brings what is kept to the store. Raises `Unavailable`."""
        await self._shelf.write()

    async def settled(self) -> None:
        """Returns when no check runs."""
        if self._checks is not None:
            await self._checks.settled()

    async def clear_up(self) -> None:
        """Drops what is over and what is too much."""
        config, batch = self._config, self._config.trim_batch
        await self._shelf.write_use()
        while await self._entries.trim(self._clock.now(), batch) == batch:
            pass
        most = Size(config.max_entries_per_tenant, config.max_bytes_per_tenant)
        for tenant in self._shelf.busy():
            while await self._entries.evict(tenant, most, batch) == batch:
                pass
            await self._books.trim_checks(tenant, config.checks.window)

    async def close(self) -> None:
        """Writes what waits."""
        if self._checks is not None:
            await self._checks.close()
        try:
            await self._shelf.write()
            await self._tally.flush()
        except Unavailable as error:
            logger.warning("the last answers were not kept: %s", error)
        if self._semantic is not None:
            self._semantic.close()

    async def stats(self, tenant: str) -> Stats:
        """Raises `Unavailable`."""
        await self._shelf.write()
        return await self._tally.stats(
            tenant,
            await self._entries.size(tenant),
            self._learned.of(tenant).estimate(self._clock.now()),
            lag_s=self._follower.lag_s,
            indexed=0 if self._semantic is None else self._semantic.indexed,
        )

    async def entries(self, tenant: str, after: str | None, limit: int) -> tuple[Sequence[Entry], bool]:
        """A page of outlines, and whether there are more. Raises `Unavailable`."""
        await self._shelf.write()
        page = await self._entries.page(tenant, after, limit + 1)
        return page[:limit], len(page) > limit

    def threshold(self, tenant: str, entry_id: str) -> float | None:
        """The least score of the verifier with which an entry is served now."""
        return self._learned.of(tenant).threshold(entry_id, self._clock.now())

    async def invalidate(self, tenant: str, what: Invalidation) -> int:
        """How many entries were dropped. Raises `Unavailable`."""
        await self._shelf.write()
        dropped = 0
        vector = None
        if what.similar_to is not None and self._semantic is not None:
            vector = (await self._semantic.encode(asked_of(what.similar_to))).vector
        async for ids in matching(self._entries, tenant, what, vector, self._clock.now()):
            dropped += await self._shelf.drop(tenant, ids)
        await self._follower.round()
        return dropped

    @property
    def connected(self) -> bool:
        """Whether the store answered when it was asked last."""
        return self._connected

    @property
    def lag_s(self) -> float:
        return self._follower.lag_s

    async def _write_on(self) -> None:
        while True:
            await self._shelf.waiting()
            await self._try(self._shelf.write)
            await asyncio.sleep(0.02 if self._connected else self._config.follow_s)

    async def _follow_on(self) -> None:
        while True:
            await self._try(self.round)
            await asyncio.sleep(self._config.follow_s)

    async def _try(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
            self._connected = True
        except Unavailable as error:
            self._connected = False
            await self._report("", error)
        except Exception:
            logger.exception("a round of the cache failed; the next one follows")

    async def _learn(self) -> None:
        """Every worker sees all comparisons in one order, so all come to the same thresholds."""
        seen: set[tuple[str, str]] = set()
        while checks := await self._books.checks_since(self._seq, _PAGE):
            for seq, checked in checks:
                self._seq = seq
                self._learned.observe(checked)
                seen.add((checked.tenant, checked.entry))
        for tenant, entry_id in seen:
            if self._learned.of(tenant).spoiled(entry_id):
                await self._shelf.drop(tenant, [entry_id])

    async def _record(self, checked: Checked) -> None:
        self._on_check(checked.ok)
        try:
            await self._books.add_checks([checked])
        except Unavailable as error:
            await self._report(checked.tenant, error)

    async def _report(self, tenant: str, error: Unavailable) -> None:
        now = self._clock.monotonic()
        if now >= self._report_from:
            self._report_from = now + _REPORT_EVERY_S
            event = PartFailed(at=self._clock.now(), tenant=tenant, part="cache", error=str(error))
            await self._events.publish(event)


def _floor(meaning: Meaning | None, config: CacheConfig) -> float:
    if config.min_confidence is not None or meaning is None:
        return config.min_confidence or 0.0
    return meaning.judge.serve


def _semantic(meaning: Meaning | None, entries: Entries, config: CacheConfig) -> Semantic | None:
    if meaning is None or not config.semantic:
        return None
    return Semantic(meaning.index, meaning.encoder, meaning.judge, entries, config)
