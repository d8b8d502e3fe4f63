"""The way out: what is kept of an answer."""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase

import orjson

from sentinella_plugins.cache.checks import Checks
from sentinella_plugins.cache.config import CacheConfig
from sentinella_plugins.cache.eligibility import unkeepable
from sentinella_plugins.cache.lookup import Lookup
from sentinella_plugins.cache.models import Given, Keeping
from sentinella_plugins.cache.semantic import Semantic, pack
from sentinella_plugins.cache.shelf import Shelf
from sentinella_plugins.cache.store import checksum
from sentinella_plugins.cache.tally import Tally
from sentinella_plugins.kernel.asking import Ask
from sentinella_plugins.kernel.call import CacheMark, Call, Outcome
from sentinella_plugins.kernel.clock import Clock
from sentinella_plugins.storage.entries import Entry

OVERHEAD = 400
"""Bytes that an entry takes beside its texts."""


class Keeper:
    """Waits for nothing: an answer is on its way to a client."""

    def __init__(
        self,
        shelf: Shelf,
        semantic: Semantic | None,
        lookup: Lookup,
        checks: Checks | None,
        tally: Tally,
        clock: Clock,
        config: CacheConfig,
        ask: Callable[[], Ask | None],
    ) -> None:
        self._shelf = shelf
        self._semantic = semantic
        self._lookup = lookup
        self._checks = checks
        self._tally = tally
        self._clock = clock
        self._config = config
        self._ask = ask

    def leave(self, call: Call, outcome: Outcome) -> None:
        mark, keeping, given = call.note(CacheMark), call.note(Keeping), call.note(Given)
        if mark is not None and outcome.status != "refused":
            self._tally.mark(call.principal.tenant, mark)
        if self._checks is not None:
            self._checks.passed()
            if given is not None and outcome.status == "success":
                self._checks.served(call, given, self._ask())
        if keeping is not None:
            self._keep(call, outcome, keeping)

    def _keep(self, call: Call, outcome: Outcome, keeping: Keeping) -> None:
        entry = None
        try:
            entry = self._entry(call, outcome, keeping)
            if entry is not None and self._shelf.keep(entry):
                self._make_findable(entry, keeping, outcome)
        finally:
            if keeping.leader is not None and outcome.status == "success":
                self._lookup.land(keeping.leader, entry, outcome.body)
            elif keeping.leader is not None:
                self._lookup.fail(keeping.leader, cancelled=outcome.status != "error")

    def _make_findable(self, entry: Entry, keeping: Keeping, outcome: Outcome) -> None:
        if self._semantic is None or keeping.encoding is None or not entry.vector:
            return
        self._semantic.add_soon(entry, keeping.encoding)
        if keeping.near is not None and self._checks is not None and outcome.body is not None:
            self._checks.answered(entry.tenant, keeping.near, outcome.body)

    def _entry(self, call: Call, outcome: Outcome, keeping: Keeping) -> Entry | None:
        tenant, keys = call.principal.tenant, keeping.keys
        reason = unkeepable(call, outcome, self._config)
        body = b"" if reason else orjson.dumps(outcome.body, default=str)
        if len(body) > self._config.max_body_bytes:
            reason = "too_large"
        if reason is not None:
            self._tally.not_kept(tenant, reason)
            return None
        vector = b"" if keeping.encoding is None else pack(keeping.encoding.vector)
        question = keys.question if vector else ""
        now = self._clock.now()
        return Entry(
            tenant=tenant,
            id=keys.entry_id,
            scope=keys.scope,
            question=question,
            vector=vector,
            encoder=self._semantic.encoder_name if vector and self._semantic else "",
            body=body,
            checksum=checksum(tenant, keys.entry_id, body),
            model=outcome.model,
            provider=outcome.provider,
            cost=outcome.cost,
            created_at=now,
            expires_at=now + self.ttl_s(tenant, outcome.model, keeping.wish.ttl_s),
            tags=keeping.wish.tags,
            bytes=len(body) + len(question.encode()) + len(vector) + OVERHEAD,
        )

    def ttl_s(self, tenant: str, model: str, wished: float | None) -> float:
        config = self._config
        if wished is not None:
            return min(wished, config.max_ttl_s)
        by_model = (ttl for pattern, ttl in config.ttl_by_model.items() if fnmatchcase(model, pattern))
        usual = next(by_model, config.ttl_s)
        return min(usual, config.ttl_by_tenant.get(tenant, usual))
