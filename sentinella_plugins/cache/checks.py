"""Are hits right? Some are asked afresh in the background, and the two answers compared."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import orjson

from sentinella_plugins.cache.background import Background
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


@dataclass(slots=True)
class _Due:
    """One of the hits of an entry, chosen to stand for `weight` of them."""

    call: Call
    given: Given
    weight: float


class Checks:
    """Hits of one entry that come while its check waits share it. `record` keeps a comparison; `random` gives
    0..1. Without `ask` only answers that come anyway are compared."""

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
        self._hits: defaultdict[str, float] = defaultdict(float)
        self._due: dict[tuple[str, str], _Due] = {}
        self._background = Background(self._config.wait_s, self._config.max_running)
        self._budget, self._refilled = float(self._config.per_minute), clock.monotonic()

    def passed(self) -> None:
        """A call came by: checks let it go first."""
        self._background.passed()

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
        if ask is not None and self._random() < probability:
            self._choose(call, given, ask, 1 / probability)

    def answered(self, tenant: str, near: Found, fresh: Json) -> None:
        """A near question was not trusted and the model asked: whether its answer would have been right costs
        no call."""
        if self._may_run():
            self._background.put(partial(self._compare_near, tenant, near, fresh))

    async def settled(self) -> None:
        """Returns when none waits or runs."""
        await self._background.settled()

    async def close(self) -> None:
        await self._background.close()

    def _choose(self, call: Call, given: Given, ask: Ask, weight: float) -> None:
        place = (call.principal.tenant, given.found.entry_id)
        due = self._due.get(place)
        if due is not None:
            due.weight += weight
            if self._random() * due.weight < weight:  # each in proportion to what it stands for
                due.call, due.given = call, given
        elif self._may_run():
            self._due[place] = _Due(call, given, weight)
            self._background.put(partial(self._check, place, ask))
        else:
            self._unseen(place[0], weight)

    def _unseen(self, tenant: str, weight: float) -> None:
        """Hits of which nobody will know whether they were right speak for nothing: else a tenant with more
        hits than checks would seem to be right more often than it is."""
        self._hits[tenant] -= weight

    async def _check(self, place: tuple[str, str], ask: Ask) -> None:
        due = self._due.pop(place)
        fresh = await self._asked(due, ask)
        if fresh is None:
            return self._unseen(place[0], due.weight)
        hits = max(0, int(self._hits[place[0]]))
        self._hits[place[0]] -= hits
        await self._compare(place[0], due.given.found, due.given.entry, fresh, weight=due.weight, hits=hits)

    async def _asked(self, due: _Due, ask: Ask) -> Json | None:
        call = due.call
        model = call.requested if call.requested not in ("", AUTO) else due.given.entry.model
        body = {name: value for name, value in call.body.items() if name not in _NOT_ASKED}
        question = Question(purpose="cache_check", principal=call.principal, model=model, body=body)
        try:
            return (await ask(question)).body
        except SentinellaError:
            return None

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
        if not self._config.enabled or self._budget < 1 or len(self._background) >= most:
            return False
        self._budget -= 1
        return True


def text_of(body: Json) -> str:
    """What a chat answer says."""
    choices: Any = body.get("choices") or [{}]
    content = (choices[0].get("message") or {}).get("content")
    return content if isinstance(content, str) else ""
