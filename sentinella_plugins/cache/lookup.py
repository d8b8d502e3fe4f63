"""The way in: is there an answer?"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Literal, cast

from sentinella_plugins.cache.checks import Learned
from sentinella_plugins.cache.config import CacheConfig
from sentinella_plugins.cache.eligibility import eligible, narrowed, wish_of
from sentinella_plugins.cache.fingerprint import LARGE_CHARS, chars_of, keys_of
from sentinella_plugins.cache.models import CacheMiss, Found, Given, Keeping, Keys, Wish
from sentinella_plugins.cache.semantic import Judged, Semantic
from sentinella_plugins.cache.shelf import Shelf, readable
from sentinella_plugins.kernel.access import AUTO
from sentinella_plugins.kernel.call import Answered, CacheMark, Call, Json, Reply
from sentinella_plugins.kernel.clock import Clock
from sentinella_plugins.kernel.errors import Unavailable
from sentinella_plugins.kernel.flights import Flights, Follower, Leader
from sentinella_plugins.kernel.money import Nano
from sentinella_plugins.storage.entries import Entry
from sentinella_plugins.vectors.models import Encoding

Allowed = Callable[[Call], Awaitable[Callable[[str], bool]]]
Report = Callable[[str, Unavailable], Awaitable[None]]
_HIT = "hit"


@dataclass(frozen=True, slots=True, eq=False)
class Hit:
    entry: Entry
    body: Json
    kind: Literal["exact", "semantic"]
    found: Found | None = None
    encoding: Encoding | None = None


class Lookup:
    """`allowed` tells which models a call may use, `report(tenant, error)` hears of failures that a call went
    on without."""

    def __init__(
        self,
        shelf: Shelf,
        semantic: Semantic | None,
        learned: Learned,
        clock: Clock,
        config: CacheConfig,
        allowed: Allowed | None,
        report: Report,
    ) -> None:
        self._shelf = shelf
        self._semantic = semantic
        self._learned = learned
        self._clock = clock
        self._config = config
        self._allowed = allowed
        self._report = report
        self._flights = Flights(config.max_followers)

    async def enter(self, call: Call) -> Call:
        """The call with its `CacheMark`, and with `Answered` when there is an answer.

        Raises `CacheMiss` when only a kept answer is wanted, `BadRequest` for malformed tags and, when
        failures close, `Unavailable`.
        """
        wish = wish_of(call)
        if (reason := eligible(call, wish, self._config).bypass) is not None:
            return _passed_by(call, wish, reason)
        keys = await self._keys(call)
        narrow = narrowed(call, keys, self._config, self._clock.now())
        if narrow.bypass is not None:
            return _passed_by(call, wish, narrow.bypass)
        if narrow.exact_only == "personal":
            keys = await self._keys(call, person=str(call.body.get("user", "")))
        semantic = narrow.exact_only is None and self._semantic is not None
        try:
            return await self._look(call, Keeping(keys, wish, semantic))
        except Unavailable as error:
            if self._config.on_failure == "closed":
                raise
            await self._report(call.principal.tenant, error)
            return _passed_by(call, wish, "unavailable")

    def land(self, leader: Leader, entry: Entry | None, body: Json | None) -> None:
        """Tells those who wait for an equal call; without an entry they ask by themselves."""
        kept = entry is not None and body is not None
        self._flights.land(leader, {_HIT: Hit(entry, body, "exact")} if kept else None)  # type: ignore[arg-type]

    def fail(self, leader: Leader, *, cancelled: bool) -> None:
        self._flights.fail(leader, cancelled=cancelled)

    async def _look(self, call: Call, keeping: Keeping) -> Call:
        mode, keys = keeping.wish.mode, keeping.keys
        if mode == "refresh":
            return _passed_by(call, keeping.wish, "refresh", await self._encoded(call, keeping))
        held = self._shelf.held(call.principal.tenant, keys.entry_id)
        hit = None if held is None else await self._usable(call, keeping.wish, held)
        if hit is not None:
            return self._answered(call, hit)
        if mode == "only":
            hit, _ = await self._search(call, keeping)
            if hit is None:
                raise CacheMiss
            return self._answered(call, hit)
        return await self._look_together(call, keeping)

    async def _look_together(self, call: Call, keeping: Keeping) -> Call:
        """Of equal calls one goes on, the others wait for what it finds."""
        wish = keeping.wish
        flight = f"{keeping.keys.exact}:{wish.threshold}:{wish.max_age_s}"
        seat: Leader | Follower | Json | None = self._flights.join(flight)
        if isinstance(seat, Follower):
            seat = await self._flights.wait(seat, self._config.flight_wait_s)
            if seat is not None and not isinstance(seat, Leader):
                return self._answered(call, cast("Hit", seat[_HIT]))
        leader = seat if isinstance(seat, Leader) else None
        try:
            hit, keeping = await self._search(call, keeping)
        except BaseException as error:
            if leader is not None:
                self._flights.fail(leader, cancelled=isinstance(error, asyncio.CancelledError))
            raise
        if hit is None:
            return _noted(call, CacheMark(status="miss"), replace(keeping, leader=leader), keeping.encoding)
        if leader is not None:
            self._flights.land(leader, {_HIT: hit})
        return self._answered(call, hit)

    async def _search(self, call: Call, keeping: Keeping) -> tuple[Hit | None, Keeping]:
        """A question that is known to be kept comes from the store and needs no vector. For another the store
        is asked last: it hardly ever has what is not known here, and its thread holds up the encoder's."""
        tenant, keys = call.principal.tenant, keeping.keys
        if self._semantic is None or self._semantic.knows((tenant, keys.scope), keys.entry_id):
            hit = await self._search_same(call, keeping)
            return (hit, keeping) if hit is not None else await self._search_meaning(call, keeping)
        try:
            hit, keeping = await self._search_meaning(call, keeping)
        except Unavailable:
            if (hit := await self._search_same(call, keeping)) is None:
                raise
        return hit or await self._search_same(call, keeping), keeping

    async def _search_same(self, call: Call, keeping: Keeping) -> Hit | None:
        entry = await self._shelf.find(call.principal.tenant, keeping.keys.entry_id)
        return None if entry is None else await self._usable(call, keeping.wish, entry)

    async def _search_meaning(self, call: Call, keeping: Keeping) -> tuple[Hit | None, Keeping]:
        semantic = self._semantic
        if semantic is None or not keeping.semantic:
            return None, keeping
        partition, threshold = (call.principal.tenant, keeping.keys.scope), self._threshold(keeping.wish)
        question, judged = keeping.keys.question, None
        if _known(call, question) is None:
            both = await semantic.encode_and_judge(partition, question, threshold)
            if both is not None:
                call, judged = call.with_note(both[0]), both[1]
        keeping = await self._encoded(call, keeping)
        if keeping.encoding is None:
            return None, keeping
        try:
            judged = judged or await semantic.judge(partition, keeping.encoding, threshold)
            return await self._nearest(semantic, call, keeping, keeping.encoding, judged)
        except Unavailable as error:
            await self._give_up_meaning(call, error)
            return None, keeping

    def _threshold(self, wish: Wish) -> float:
        asked = self._config.threshold if wish.threshold is None else wish.threshold
        return max(self._config.min_threshold, asked)

    async def _nearest(
        self, semantic: Semantic, call: Call, keeping: Keeping, encoding: Encoding, judged: Judged
    ) -> tuple[Hit | None, Keeping]:
        tenant, scope = call.principal.tenant, keeping.keys.scope
        learned = self._learned.of(tenant)
        found = await semantic.find((tenant, scope), encoding, judged, learned)
        if found is None or found.guard is not None:
            return None, keeping
        if not learned.trusts(found.confidence, self._clock.now()):
            return None, replace(keeping, near=found)
        entry = await self._shelf.find(tenant, found.entry_id)
        if entry is None:
            semantic.forget((tenant, scope), found.entry_id)
            return None, keeping
        return await self._usable(call, keeping.wish, entry, found, encoding), keeping

    async def _usable(
        self,
        call: Call,
        wish: Wish,
        entry: Entry,
        found: Found | None = None,
        encoding: Encoding | None = None,
    ) -> Hit | None:
        """`None` when it is too old for this call, or of a model that it may not use."""
        if wish.max_age_s is not None and self._clock.now() - entry.created_at > wish.max_age_s:
            return None
        # A model that was named is checked by whoever checks it for every call.
        if call.model == AUTO and self._allowed is not None and not (await self._allowed(call))(entry.model):
            return None
        body = readable(entry)
        if body is None:
            return None
        return Hit(entry, body, "exact" if found is None else "semantic", found, encoding)

    async def _encoded(self, call: Call, keeping: Keeping) -> Keeping:
        """With the question's encoding, unless that cannot be had."""
        if not keeping.semantic or self._semantic is None:
            return keeping
        encoding = _known(call, keeping.keys.question)
        if encoding is None:
            try:
                encoding = await self._semantic.encode(keeping.keys.question)
            except Unavailable as error:
                await self._give_up_meaning(call, error)
                return replace(keeping, semantic=False)
        return replace(keeping, encoding=encoding)

    async def _give_up_meaning(self, call: Call, error: Unavailable) -> None:
        if self._config.on_failure == "closed":
            raise error
        await self._report(call.principal.tenant, error)

    async def _keys(self, call: Call, *, person: str = "") -> Keys:
        if chars_of(call) > LARGE_CHARS:
            return await asyncio.to_thread(keys_of, call, person=person)
        return keys_of(call, person=person)

    def _answered(self, call: Call, hit: Hit) -> Call:
        entry, found = hit.entry, hit.found
        mark = CacheMark(
            status="hit",
            kind=hit.kind,
            similarity=1.0 if found is None else round(found.similarity, 4),
            entry_id=entry.id,
            age_s=round(max(0.0, self._clock.now() - entry.created_at), 3),
            saved=Nano(entry.cost),
        )
        given = None if found is None or hit.encoding is None else Given(entry, found)
        return _noted(call, mark, Answered(Reply(hit.body, "cache", mark)), given, hit.encoding)


def _known(call: Call, question: str) -> Encoding | None:
    """What another room, or a turn before, has made of the question."""
    encoding = call.note(Encoding)
    return encoding if encoding is not None and encoding.text == question else None


def _passed_by(call: Call, wish: Wish, reason: str, keeping: Keeping | None = None) -> Call:
    if wish.mode == "only":
        raise CacheMiss(f"There is no kept answer: this call is passed by the cache (`{reason}`).")
    encoding = None if keeping is None else keeping.encoding
    return _noted(call, CacheMark(status="bypass", reason=reason), keeping, encoding)


def _noted(call: Call, *notes: object) -> Call:
    added = {type(note): note for note in notes if note is not None}
    return call.evolve(notes={**call.notes, **added})
