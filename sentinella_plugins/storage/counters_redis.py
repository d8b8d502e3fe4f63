"""Counters in Redis or Valkey: one Lua script per verb, one round trip per call."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar, cast

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from sentinella_plugins.kernel.clock import Clock
from sentinella_plugins.kernel.errors import SettingsError, Unavailable
from sentinella_plugins.storage.arithmetic import FORGET_AFTER_S, UNBEATEN_S, check, check_counted
from sentinella_plugins.storage.protocols import Claim, Reservation, Verdict
from sentinella_plugins.storage.wire import dump_claims, dump_memo, load_reservation

T = TypeVar("T")
FOLDER = Path(__file__).parent / "lua"
PREFIX = "{sentinella}:"
"""All keys share one hash tag, so that on Redis Cluster one script reaches them all."""


class RedisCounters:
    """Exact across all workers and machines that share the Redis. Buckets vanish by their own expiry."""

    def __init__(
        self, url: str, *, pool_size: int = 50, timeout_s: float = 5.0, clock: Clock, prefix: str = PREFIX
    ) -> None:
        self._clock = clock
        self._prefix = prefix
        self._redis = connect(url, pool_size=pool_size, timeout_s=timeout_s)
        self._reserve = self._redis.register_script(_script("reserve"))
        self._settle = self._redis.register_script(_script("settle"))
        self._reap = self._redis.register_script(_script("reap"))
        self._undoing: set[asyncio.Task[object]] = set()

    async def open(self) -> None:
        """Nothing to do: connections are made when they are needed."""

    async def close(self) -> None:
        await asyncio.gather(*self._undoing, return_exceptions=True)
        await self._redis.aclose()

    async def healthy(self) -> bool:
        try:
            return bool(await self._answer(self._redis.ping()))
        except Unavailable:
            return False

    async def reserve(self, reservation: Reservation) -> Verdict:
        check(reservation)
        claims, memo = dump_claims(reservation.claims), dump_memo(reservation.memo)
        identity = (reservation.id, reservation.owner, claims, memo)
        asking = asyncio.ensure_future(self._run(self._reserve, [self._key(reservation.id)], *identity))
        try:
            answer = await asyncio.shield(asking)
        except (asyncio.CancelledError, Unavailable):
            self._undo(reservation.id, asking)
            raise
        if not answer:
            raise ValueError(f"reservation `{reservation.id}` is in use")
        return _verdict(answer, len(reservation.claims))

    async def count(self, claims: Sequence[Claim]) -> Verdict:
        check_counted(claims)
        answer = await self._run(self._reserve, [self._key("")], "", "", dump_claims(claims), "")
        return _verdict(answer, len(claims))

    async def settle(self, reservation_id: str, actual: Mapping[str, int]) -> bool:
        return await self._finish(reservation_id, json.dumps(dict(actual)))

    async def release(self, reservation_id: str) -> bool:
        return await self._finish(reservation_id, "")

    async def read(self, keys: Sequence[str]) -> Mapping[str, int]:
        if not keys:
            return {}
        values = await self._answer(self._redis.mget([f"{self._prefix}b:{key}" for key in keys]))
        return {key: int(value or 0) for key, value in zip(keys, values, strict=True)}

    async def beat(self, owner: str, until: float) -> None:
        await self._answer(self._redis.zadd(f"{self._prefix}leases", {owner: until}))

    async def reap(self, now: float, limit: int = 100) -> Sequence[Reservation]:
        keys = [f"{self._prefix}owners", f"{self._prefix}leases"]
        arguments: list[str | int | float] = [self._prefix, repr(now), FORGET_AFTER_S, limit, UNBEATEN_S]
        rows = await self._answer(cast("Awaitable[list[list[str]]]", self._reap(keys, arguments)))
        return [load_reservation(*row) for row in rows]

    async def _finish(self, reservation_id: str, actual: str) -> bool:
        return bool(await self._run(self._settle, [self._key(reservation_id)], reservation_id, actual))

    async def _run(self, script: Any, keys: list[str], *arguments: str) -> Any:
        return await self._answer(
            script(keys, [self._prefix, repr(self._clock.now()), FORGET_AFTER_S, *arguments])
        )

    async def _answer(self, answer: Awaitable[T]) -> T:
        with translated():
            return await answer

    def _key(self, reservation_id: str) -> str:
        return f"{self._prefix}r:{reservation_id}"

    def _undo(self, reservation_id: str, asking: asyncio.Future[object]) -> None:
        """Whether it was made is unknown, and nobody reaps it while its owner lives."""

        async def undo() -> None:
            with suppress(Unavailable):
                await asking
            with suppress(Unavailable):
                await self.release(reservation_id)

        task: asyncio.Task[object] = asyncio.ensure_future(undo())
        self._undoing.add(task)
        task.add_done_callback(self._undoing.discard)


def connect(url: str, *, pool_size: int, timeout_s: float) -> Redis:
    """A client with bounded connections and waits that never repeats a command: a script may have run."""
    try:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=pool_size,
            timeout=timeout_s,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            decode_responses=True,
            retry=Retry(NoBackoff(), 0),
            protocol=2,  # with 3, redis-py hands out connections that the server has closed
        )
    except ValueError as error:
        raise SettingsError("`storage.redis_url` must be `redis://`, `rediss://` or `unix://`") from error
    return Redis.from_pool(pool)


@contextmanager
def translated() -> Iterator[None]:
    try:
        yield
    except (RedisError, OSError, TimeoutError) as error:
        raise Unavailable(f"Redis did not answer ({type(error).__name__}). Retry shortly.") from error


def _script(verb: str) -> str:
    return "\n".join((FOLDER / f"{name}.lua").read_text("utf-8") for name in ("common", verb))


def _verdict(answer: Sequence[int], claims: int) -> Verdict:
    """`answer` is granted, what the buckets hold, and after a refusal -1 and the refused indexes."""
    return Verdict(tuple(answer[1 : claims + 1]), tuple(answer[claims + 2 :]))
