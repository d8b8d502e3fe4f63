"""A call that was made before is answered from what is kept; one that runs right now is waited for."""

from __future__ import annotations

import asyncio
import logging

from sentinella_plugins.kernel.call import Call, Json, Outcome, Reply
from sentinella_plugins.kernel.clock import Clock
from sentinella_plugins.kernel.errors import Unavailable
from sentinella_plugins.kernel.events import Events, PartFailed
from sentinella_plugins.kernel.flights import Flights, Follower, Leader
from sentinella_plugins.replay.config import ReplayConfig
from sentinella_plugins.replay.fingerprint import may_share, of_flight
from sentinella_plugins.replay.idempotency import Keys, claim_of
from sentinella_plugins.replay.models import Claim, Fresh, Replayed
from sentinella_plugins.replay.store import ReplayStore
from sentinella_plugins.storage.database import Database

logger = logging.getLogger(__name__)
_REPORT_EVERY_S = 1.0


class ReplayService:
    """`run` must run: it keeps the keys of this worker's calls alive."""

    def __init__(self, database: Database, events: Events, clock: Clock, config: ReplayConfig) -> None:
        self._store = ReplayStore(database)
        self._keys = Keys(self._store, clock, config)
        self._flights = Flights(config.max_followers)
        self._events = events
        self._clock = clock
        self._config = config
        self._report_from = self._trim_from = clock.monotonic()

    async def run(self) -> None:
        """Heartbeat and clearing up, until cancelled."""
        while True:
            try:
                await self.round()
            except Exception:
                logger.exception("the heartbeat of idempotency keys failed")
            await asyncio.sleep(self._config.heartbeat_s)

    async def round(self) -> None:
        await self._keys.beat()
        now, batch = self._clock.monotonic(), self._config.trim_batch
        if now >= self._trim_from:
            while await self._store.trim(self._clock.now(), batch) == batch:
                pass
            self._trim_from = now + self._config.trim_interval_s

    async def enter(self, call: Call) -> Call | Reply:
        """The call with what it holds, or an answer: of an earlier call (`idempotency`) or of one that ran
        beside it (`coalesced`)."""
        begun = await self.begin(call)
        if isinstance(begun, Replayed):
            return Reply(begun.body, "idempotency")
        claim = begun.claim
        if claim is not None:
            call = call.with_note(claim)
        try:
            joined = await self._join(call)
            if isinstance(joined, Leader):
                return call.with_note(joined)
            if joined is None:
                return call
            await self._finish(call, joined, str(joined.get("model", "")))
            return Reply(joined, "coalesced")
        except BaseException:
            if claim is not None:
                self._keys.drop(claim)
            raise

    async def leave(self, call: Call, outcome: Outcome) -> None:
        leader = call.note(Leader)
        if leader is not None:
            self._land(leader, outcome)
        await self.finish(call, outcome)

    async def begin(self, call: Call) -> Fresh | Replayed:
        """Waits at most `wait_s` for a running call with the same key.

        Raises `BadRequest` for a malformed key, `KeyReused` (422), `InProgress` (409) and, when failures
        close, `Unavailable`.
        """
        claim = claim_of(call, self._config.max_key_length)
        if claim is None:
            return Fresh()
        try:
            return await self._keys.begin(claim)
        except Unavailable as error:
            if self._config.on_failure == "closed":
                raise
            await self._report(call, error)
            return Fresh()

    async def finish(self, call: Call, outcome: Outcome) -> None:
        """A success keeps its body; anything else sets the key free."""
        await self._finish(call, outcome.body if outcome.status == "success" else None, outcome.model)

    def lead_or_follow(self, call: Call) -> Leader | Follower | None:
        """`None`: the call asks by itself."""
        return self._flights.join(of_flight(call)) if may_share(call, self._config) else None

    async def _join(self, call: Call) -> Json | Leader | None:
        seat = self.lead_or_follow(call)
        if isinstance(seat, Follower):
            return await self._flights.wait(seat, self._config.coalesce_wait_s)
        return seat

    def _land(self, leader: Leader, outcome: Outcome) -> None:
        if outcome.status == "success":
            self._flights.land(leader, outcome.body)
        else:
            self._flights.fail(leader, cancelled=outcome.status == "cancelled")

    async def _finish(self, call: Call, body: Json | None, model: str) -> None:
        claim = call.note(Claim)
        if claim is None:
            return
        try:
            await self._keys.finish(claim, body, model)
        except Unavailable as error:
            await self._report(call, error)

    async def _report(self, call: Call, error: Unavailable) -> None:
        now = self._clock.monotonic()
        if now >= self._report_from:
            self._report_from = now + _REPORT_EVERY_S
            tenant = call.principal.tenant
            await self._events.publish(
                PartFailed(at=self._clock.now(), tenant=tenant, part="replay", error=str(error))
            )
