"""Who runs a key, who waits for it, and what happens when the one who runs does not come back."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field

import orjson

from sentinella_plugins.kernel.call import Call, Json
from sentinella_plugins.kernel.clock import Clock
from sentinella_plugins.kernel.errors import BadRequest, Unavailable
from sentinella_plugins.replay.config import ReplayConfig
from sentinella_plugins.replay.fingerprint import of_key, of_request
from sentinella_plugins.replay.models import Busy, Claim, Found, Fresh, InProgress, Replayed
from sentinella_plugins.replay.store import ReplayStore

HEADER = "idempotency-key"
_LONGEST_POLL_S = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class _Held:
    claim: Claim
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Keys:
    """The keys of one worker. Those it holds are kept alive by `beat`."""

    def __init__(self, store: ReplayStore, clock: Clock, config: ReplayConfig) -> None:
        self._store = store
        self._clock = clock
        self._config = config
        self._held: dict[tuple[str, str], _Held] = {}

    async def begin(self, claim: Claim) -> Fresh | Replayed:
        """Waits while another call runs with this key. Raises `KeyReused`, `InProgress`, `Unavailable`."""
        deadline, poll = self._clock.monotonic() + self._config.wait_s, self._config.poll_s
        found = await self._take(claim)
        while isinstance(found, Busy):
            await self._pause(claim, poll, deadline)
            poll = min(2 * poll, _LONGEST_POLL_S)
            found = await self._store.peek(claim, self._clock.now()) or await self._take(claim)
        return found

    async def finish(self, claim: Claim, body: Json | None, model: str) -> None:
        """Keeps the body, or sets the key free when there is none or it is too large."""
        answer = self._text(body)
        try:
            if answer is None:
                await self._store.release(claim)
            else:
                await self._store.keep(claim, answer, model, self._clock.now() + self._config.keep_s)
        finally:
            self._let_go(claim)

    def drop(self, claim: Claim) -> None:
        """Sets the key free without waiting for it."""
        self._store.post_release(claim)
        self._let_go(claim)

    async def beat(self) -> None:
        claims = [held.claim for held in self._held.values()]
        await self._store.beat(claims, self._clock.now() + self._config.lease_s)

    async def _take(self, claim: Claim) -> Found:
        now = self._clock.now()
        try:
            found = await self._store.take(claim, now, now + self._config.lease_s)
        except (asyncio.CancelledError, Unavailable):
            self._store.post_release(claim)  # whether it was taken is unknown
            raise
        if isinstance(found, Fresh):
            self._hold(claim)
        return found

    async def _pause(self, claim: Claim, poll: float, deadline: float) -> None:
        left = deadline - self._clock.monotonic()
        if left <= 0:
            raise InProgress
        held = self._held.get(claim.place)
        if held is None:
            return await asyncio.sleep(min(left, poll))
        with suppress(TimeoutError):
            async with asyncio.timeout(left):
                await held.ended.wait()

    def _hold(self, claim: Claim) -> None:
        before, self._held[claim.place] = self._held.get(claim.place), _Held(claim)
        if before is not None:  # its lease ran out under it
            before.ended.set()

    def _let_go(self, claim: Claim) -> None:
        held = self._held.get(claim.place)
        if held is not None and held.claim == claim:
            del self._held[claim.place]
            held.ended.set()

    def _text(self, body: Json | None) -> str | None:
        if body is None:
            return None
        try:
            raw = orjson.dumps(body, default=str)
        except orjson.JSONEncodeError:
            return None
        return raw.decode() if len(raw) <= self._config.max_body_bytes else None


def claim_of(call: Call, max_length: int) -> Claim | None:
    """`None` without a key. `BadRequest` for an empty or too long one."""
    key = call.headers.get(HEADER)
    if key is None:
        return None
    if not 0 < len(key) <= max_length:
        raise BadRequest(
            f"`Idempotency-Key` must have 1 to {max_length} characters, not {len(key)}.",
            param="Idempotency-Key",
        )
    return Claim(call.principal.tenant, of_key(key), of_request(call), call.id)
