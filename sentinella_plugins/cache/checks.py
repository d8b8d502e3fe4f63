"""Are hits right? Some are asked afresh in the background, and the two answers compared."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

import numpy as np
import orjson

from sentinella_plugins.cache.config import CacheConfig
from sentinella_plugins.cache.models import Checked, Found, Given
from sentinella_plugins.cache.semantic import Semantic
from sentinella_plugins.cache.shelf import Shelf
from sentinella_plugins.cache.thresholds import Thresholds
from sentinella_plugins.kernel.access import AUTO
from sentinella_plugins.kernel.asking import Ask, Question
from sentinella_plugins.kernel.call import Call, Json
from sentinella_plugins.kernel.clock import Clock
from sentinella_plugins.kernel.errors import SentinellaError, Unavailable
from sentinella_plugins.storage.entries import Entry

logger = logging.getLogger(__name__)
_SHORT = 300
"""Characters up to which one number or name makes two answers different; longer ones vary in wording."""

_READ = 4_000
_MOST_TENANTS = 10_000
_NOT_ASKED = frozenset(["stream", "stream_options"])
Record = Callable[[Checked], Awaitable[None]]


class Learned:
    """What was learned for each tenant."""

    def __init__(self, config: CacheConfig, floor: float) -> None:
        self._config = config
        self._floor = floor
        self._tenants: OrderedDict[str, Thresholds] = OrderedDict()

    def of(self, tenant: str) -> Thresholds:
        known = self._tenants.get(tenant)
        if known is None:
            known = self._tenants[tenant] = Thresholds(
                max_error_rate=self._config.max_error_rate,
                floor=self._floor,
                window=self._config.checks.window,
            )
            while len(self._tenants) > _MOST_TENANTS:
                self._tenants.popitem(last=False)
        return known

    def observe(self, checked: Checked) -> None:
        self.of(checked.tenant).observe(checked)


class Checks:
    """`record` keeps a comparison; `random` gives 0..1. Without `ask` only answers that come anyway are
    compared."""

    def __init__(
        self,
        semantic: Semantic,
        shelf: Shelf,
        learned: Learned,
        record: Record,
        clock: Clock,
        config: CacheConfig,
        random: Callable[[], float],
    ) -> None:
        self._semantic = semantic
        self._shelf = shelf
        self._learned = learned
        self._record = record
        self._clock = clock
        self._config = config.checks
        self._random = random
        self._hits: Counter[str] = Counter()
        self._running: set[asyncio.Task[None]] = set()
        self._budget, self._refilled = float(self._config.per_minute), clock.monotonic()

    def served(self, call: Call, given: Given, ask: Ask | None) -> None:
        """A semantic hit was served: perhaps it is checked."""
        tenant, found = call.principal.tenant, given.found
        self._hits[tenant] += 1
        learned = self._learned.of(tenant)
        probability = learned.check_probability(
            found.entry_id,
            found.confidence,
            self._clock.now(),
            rate=self._config.rate,
            max_rate=self._config.max_rate,
        )
        if ask is not None and self._random() < probability and self._may_run():
            self._start(self._ask(call, given, ask, 1 / probability))

    def answered(self, tenant: str, near: Found, fresh: Json) -> None:
        """A near question was not trusted and the model asked: whether its answer would have been right costs
        no call."""
        if self._may_run():
            self._start(self._compare_near(tenant, near, fresh))

    async def settled(self) -> None:
        """Returns when none runs."""
        while self._running:
            await asyncio.wait(self._running)

    async def close(self) -> None:
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _ask(self, call: Call, given: Given, ask: Ask, weight: float) -> None:
        tenant = call.principal.tenant
        hits, self._hits[tenant] = self._hits[tenant], 0
        model = call.requested if call.requested not in ("", AUTO) else given.entry.model
        body = {name: value for name, value in call.body.items() if name not in _NOT_ASKED}
        question = Question(purpose="cache_check", principal=call.principal, model=model, body=body)
        try:
            outcome = await ask(question)
            if outcome.body is None:
                raise SentinellaError
        except SentinellaError:
            self._hits[tenant] += hits
            return
        await self._compare(tenant, given.found, given.entry, outcome.body, weight=weight, hits=hits)

    async def _compare_near(self, tenant: str, near: Found, fresh: Json) -> None:
        with suppress(Unavailable):
            kept = await self._shelf.find(tenant, near.entry_id)
            if kept is not None:
                await self._compare(tenant, near, kept, fresh, weight=0.0, hits=0)

    async def _compare(
        self, tenant: str, found: Found, kept: Entry, fresh: Json, *, weight: float, hits: int
    ) -> None:
        try:
            ok = await self._agree(text_of(orjson.loads(kept.body)), text_of(fresh))
        except SentinellaError:
            return
        at = self._clock.now()
        await self._record(Checked(tenant, found.entry_id, found.score, ok, weight, hits, at))

    async def _agree(self, kept: str, fresh: str) -> bool:
        kept, fresh = kept.strip(), fresh.strip()
        if kept.casefold() == fresh.casefold():
            return True
        one, other = await self._semantic.encode_all([kept[:_READ], fresh[:_READ]])
        if float(np.dot(one.vector, other.vector)) < self._config.similarity:
            return False
        if max(len(kept), len(fresh)) > _SHORT:
            return True
        return (await self._semantic.verdict(one, other)).guard is None

    def _may_run(self) -> bool:
        """Takes one of the minute's checks."""
        now, most = self._clock.monotonic(), self._config.per_minute
        self._budget = min(float(most), self._budget + (now - self._refilled) * most / 60)
        self._refilled = now
        if not self._config.enabled or self._budget < 1 or len(self._running) >= self._config.max_running:
            return False
        self._budget -= 1
        return True

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a check of the cache failed", exc_info=error)


def text_of(body: Json) -> str:
    """What a chat answer says."""
    choices: Any = body.get("choices") or [{}]
    content = (choices[0].get("message") or {}).get("content")
    return content if isinstance(content, str) else ""
