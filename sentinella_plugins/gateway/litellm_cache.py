"""`litellm.cache` on our own store: LiteLLM's other kinds of calls share it, each tenant with itself."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import litellm
import orjson
from litellm.caching.base_cache import BaseCache
from litellm.caching.caching import Cache

from sentinella_plugins.cache.raw import RawEntries
from sentinella_plugins.kernel.errors import Unavailable

logger = logging.getLogger(__name__)
CALL_TYPES = ("embedding", "aembedding", "rerank", "arerank")
"""Those whose answer depends on the request alone. Chat answers never come this way: they are looked for
before a model is chosen."""

_TENANT = "user_api_key_team_id"
_SOURCES = ("metadata", "litellm_metadata")


class SentinellaCache(Cache):
    """Set it as `litellm.cache` before LiteLLM makes its router, which asks once whether there is a cache. A
    call of which no tenant is known, or more than one, is not cached."""

    def __init__(self, raw: RawEntries) -> None:
        super().__init__(
            _backend=Backend(raw),
            supported_call_types=list(CALL_TYPES),  # type: ignore[arg-type]
            max_messages=None,
        )

    def get_cache_key(self, **kwargs: Any) -> str:
        return f"{_tenant(kwargs) or ''}:{super().get_cache_key(**kwargs)}"

    def should_use_cache(self, **kwargs: Any) -> bool:
        # For embeddings LiteLLM gives only the key, which names the tenant.
        known, key = _tenant(kwargs), kwargs.get("cache_key")
        named = str(key).partition(":")[0] if key is not None else known
        if not named or known not in (None, named):
            return False
        return bool(super().should_use_cache(**kwargs))  # type: ignore[no-untyped-call]


def install(raw: RawEntries) -> None:
    """Unless the YAML configures a cache of its own."""
    if litellm.cache is not None:
        return
    lists = (litellm.input_callback, litellm.success_callback, litellm._async_success_callback)
    before = [list(one) for one in lists]
    litellm.cache = SentinellaCache(raw)
    # LiteLLM's `cache` callback keeps streamed chat answers, which are not kept here, and it would take every
    # chat call off the short road.
    for one, was in zip(lists, before, strict=True):
        one[:] = was


class Backend(BaseCache):
    """Keys are `tenant:key`. What the store cannot do is a miss."""

    def __init__(self, raw: RawEntries) -> None:
        super().__init__()
        self._raw = raw

    async def async_get_cache(self, key: str, **_: Any) -> Any:
        tenant, _colon, rest = key.partition(":")
        try:
            found = await self._raw.get(tenant, rest) if tenant else None
        except Unavailable as error:
            logger.warning("LiteLLM's cache was not read: %s", error)
            return None
        return None if found is None else orjson.loads(found)

    async def async_set_cache(self, key: str, value: Any, **kwargs: Any) -> None:
        tenant, _colon, rest = key.partition(":")
        if tenant:
            ttl = kwargs.get("ttl")
            self._raw.put(
                tenant,
                rest,
                orjson.dumps(value, default=str),
                model=str(kwargs.get("model") or ""),
                ttl_s=float(ttl) if isinstance(ttl, int | float) and ttl > 0 else None,
            )

    async def async_set_cache_pipeline(self, cache_list: Sequence[tuple[str, Any]], **kwargs: Any) -> None:
        for key, value in cache_list:
            await self.async_set_cache(key, value, **kwargs)

    def get_cache(self, key: str, **_: Any) -> Any:
        """Calls outside an event loop are not cached."""
        return None

    def set_cache(self, key: str, value: Any, **_: Any) -> None: ...

    async def ping(self) -> bool:
        return True

    async def disconnect(self) -> None:
        """The store is closed by who opened it."""

    async def test_connection(self) -> dict[str, Any]:
        return {"status": "success", "message": "Sentinella's own store", "error": None}


def _tenant(kwargs: Mapping[str, Any]) -> str | None:
    """Clients may send metadata of their own: only where all that name a tenant agree is it believed."""
    inner = kwargs.get("litellm_params")
    places = (kwargs, inner if isinstance(inner, Mapping) else {})
    sources = (place.get(name) for place in places for name in _SOURCES)
    named = {
        source[_TENANT]
        for source in sources
        if isinstance(source, Mapping) and source.get(_TENANT) is not None
    }
    tenant = named.pop() if len(named) == 1 else None
    return tenant if isinstance(tenant, str) and tenant else None
