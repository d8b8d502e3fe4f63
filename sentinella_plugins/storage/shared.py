"""Values that workers share for a while and may lose at any time, in Redis or Valkey."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from sentinella_plugins.storage.config import StorageConfig
from sentinella_plugins.storage.counters_redis import FOLDER, PREFIX, connect, translated


class SharedValues:
    """Each ends by itself after `ttl_s`, and together they take at most `max_bytes`: beyond it those that end
    first make room. `kind` keeps one use apart from others. What Redis cannot do is `Unavailable`."""

    def __init__(
        self,
        url: str,
        kind: str,
        *,
        max_bytes: int,
        ttl_s: float,
        pool_size: int = 50,
        timeout_s: float = 5.0,
        prefix: str = PREFIX,
    ) -> None:
        self._prefix = f"{prefix}{kind}:"
        self._limits = (max(1, round(ttl_s * 1000)), max_bytes)
        self._redis = connect(url, pool_size=pool_size, timeout_s=timeout_s)
        self._put = self._redis.register_script(_script("put"))
        self._drop = self._redis.register_script(_script("drop"))

    async def close(self) -> None:
        await self._redis.aclose()

    async def get(self, name: str) -> str | None:
        with translated():
            return cast("str | None", await self._redis.get(f"{self._prefix}v:{name}"))

    async def put(self, name: str, value: str) -> None:
        """A value larger than all may be is not kept, nor is the one before it."""
        with translated():
            await self._put([], [self._prefix, name, value, *self._limits])

    async def drop(self, names: Sequence[str]) -> None:
        if names:
            with translated():
                await self._drop([], [self._prefix, *names])


def open_shared(
    config: StorageConfig, kind: str, *, max_bytes: int, ttl_s: float, timeout_s: float
) -> SharedValues | None:
    """`None` where no Redis is given; the first use is the first to touch it."""
    if config.redis_url is None:
        return None
    return SharedValues(
        config.redis_url.get_secret_value(),
        kind,
        max_bytes=max_bytes,
        ttl_s=ttl_s,
        pool_size=config.redis_pool_size,
        timeout_s=timeout_s,
    )


def _script(verb: str) -> str:
    return "\n".join((FOLDER / f"{name}.lua").read_text("utf-8") for name in ("shared", f"shared_{verb}"))
