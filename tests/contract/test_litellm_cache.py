"""LiteLLM's own cache calls on our store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import litellm
import pytest
import pytest_asyncio
from litellm import Router

from sentinella_plugins.cache.config import CacheConfig
from sentinella_plugins.cache.service import CacheService
from sentinella_plugins.demo import Demo, running_demo
from sentinella_plugins.gateway.litellm_cache import SentinellaCache
from sentinella_plugins.kernel.clock import SystemClock
from sentinella_plugins.kernel.events import Events
from sentinella_plugins.storage.entries_sql import SqlEntries
from tests.contract.conftest import database
from tests.servers import eventually

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.usefixtures("litellm_rubbish"),
]


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    with running_demo() as running:
        yield running


@pytest_asyncio.fixture
async def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[CacheService]:
    clock = SystemClock()
    for name in ("input_callback", "success_callback", "_async_success_callback"):
        monkeypatch.setattr(litellm, name, list(getattr(litellm, name)))
    async with database(f"sqlite:///{tmp_path}/db.sqlite", clock) as opened:
        service = CacheService(opened, SqlEntries(opened, clock), Events(), clock, CacheConfig())
        monkeypatch.setattr(litellm, "cache", SentinellaCache(service.raw))
        yield service
        await service.close()


@pytest.fixture
def router(demo: Demo) -> Router:
    params = {"model": "openai/text-embedding-3-small", "api_base": demo.base("openai"), "api_key": "demo"}
    chat = {**params, "model": "openai/gpt-4o-mini"}
    return Router(
        model_list=[
            {"model_name": "embed", "litellm_params": params},
            {"model_name": "chat", "litellm_params": chat},
        ],
        cache_responses=True,
    )


def asked(demo: Demo) -> int:
    return len(demo.requests())


async def embed(router: Router, text: Any, tenant: str | None, **metadata: str) -> list[list[float]]:
    told = {} if tenant is None else {"user_api_key_team_id": tenant}
    answer = await router.aembedding(model="embed", input=text, metadata={**told, **metadata})
    return [row["embedding"] for row in answer.data]


async def holds(service: CacheService, tenant: str, entries: int) -> bool:
    return (await service.stats(tenant)).entries == entries


async def test_embeddings_are_asked_once_for_each_tenant(
    service: CacheService, router: Router, demo: Demo
) -> None:
    before = asked(demo)
    first = await embed(router, ["one", "two"], "acme")
    assert asked(demo) - before == 1
    await eventually(lambda: holds(service, "acme", 2))
    assert await embed(router, ["one", "two"], "acme") == first
    assert asked(demo) - before == 1
    assert await embed(router, ["one", "two"], "other") == first
    assert asked(demo) - before == 2


async def test_without_a_tenant_nothing_is_shared(service: CacheService, router: Router, demo: Demo) -> None:
    before = asked(demo)
    for _ in range(2):
        await embed(router, "alone", None)
    assert asked(demo) - before == 2


async def test_a_tenant_that_is_told_in_two_ways_is_not_believed(
    service: CacheService, router: Router, demo: Demo
) -> None:
    before = asked(demo)
    for _ in range(2):
        await router.aembedding(
            model="embed",
            input="forged",
            metadata={"user_api_key_team_id": "acme"},
            litellm_metadata={"user_api_key_team_id": "other"},
        )
    assert asked(demo) - before == 2


async def test_chat_is_left_to_the_room(service: CacheService, router: Router, demo: Demo) -> None:
    before = asked(demo)
    for _ in range(2):
        await router.acompletion(
            model="chat",
            messages=[{"role": "user", "content": "Hi"}],
            metadata={"user_api_key_team_id": "acme"},
        )
    assert asked(demo) - before == 2
