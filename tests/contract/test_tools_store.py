"""What the store of tools promises on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio
from pydantic import TypeAdapter
from sqlalchemy import delete, insert

from sentinella_plugins.kernel.clock import SystemClock
from sentinella_plugins.kernel.errors import NotFound
from sentinella_plugins.storage import Database
from sentinella_plugins.storage.tables import tenants
from sentinella_plugins.tools.models import Registered, ToolExists, ToolNotFound, TooManyTools
from sentinella_plugins.tools.specs import TenantSpec
from sentinella_plugins.tools.store import ToolStore
from tests.contract.conftest import Place, database

pytestmark = pytest.mark.asyncio
SPEC: TypeAdapter[Any] = TypeAdapter(TenantSpec)
WHOLE = {
    "name": "weather",
    "description": "Wetter für 東京 🌦",
    "url": "https://tool.test/{city}",
    "parameters": {"type": "object", "properties": {"city": {"const": "\u0000"}}},
    "headers": {"X": {"secret": "hidden"}, "Y": "plain"},
    "query": {"a": 1, "b": 1.5, "c": True, "d": "x", "e": {"secret": "hidden"}},
    "body": None,
    "allowed_hosts": ["*.tool.test"],
    "extract": {"x": "/y"},
    "timeout_s": 3.5,
}


def tool(name: str = "weather", **fields: Any) -> Registered:
    spec = SPEC.validate_python({**WHOLE, "name": name, **fields})
    return Registered(tenant="acme", spec=spec, sealed=b"sealed", created_at=1.5, updated_at=1.5)


@pytest_asyncio.fixture
async def opened(sql_place: Place) -> AsyncIterator[Database]:
    async with database(sql_place.url, SystemClock()) as found:
        rows = [{"id": n, "document": "{}", "created_at": 0.0, "updated_at": 0.0} for n in ("acme", "other")]
        await found.write(lambda connection: connection.execute(insert(tenants), rows).close())
        yield found


async def test_what_is_kept_comes_back_without_its_secrets(opened: Database) -> None:
    store = ToolStore(opened)
    await store.add("acme", tool(), 10)
    found = await store.get("acme", "weather")
    assert found.spec.model_dump() == tool().spec.model_dump()
    assert found.spec.model_dump()["headers"] == {"X": {"secret": None}, "Y": "plain"}
    assert (found.tenant, found.sealed, found.version) == ("acme", b"sealed", 1)
    assert (found.created_at, found.updated_at) == (1.5, 1.5)
    assert await store.all("acme") == (found,)
    assert await store.all("other") == ()


async def test_names_belong_to_a_tenant(opened: Database) -> None:
    store = ToolStore(opened)
    for tenant in ("acme", "other"):
        await store.add(tenant, tool(), 10)
    with pytest.raises(ToolExists):
        await store.add("acme", tool(), 10)
    with pytest.raises(NotFound, match="no tenant"):
        await store.add("nobody", tool(), 10)
    await store.remove("acme", "weather")
    with pytest.raises(ToolNotFound):
        await store.get("acme", "weather")
    assert (await store.get("other", "weather")).tenant == "other"


async def test_the_bound_holds_for_those_who_come_at_once(opened: Database) -> None:
    store = ToolStore(opened)
    tries = [store.add("acme", tool(f"t{n}"), 3) for n in range(12)]
    results = await asyncio.gather(*tries, return_exceptions=True)
    assert len(await store.all("acme")) == 3
    assert [type(result) for result in results if result is not None] == [TooManyTools] * 9


async def test_changes_are_lost_nowhere(opened: Database) -> None:
    store = ToolStore(opened)
    await store.add("acme", tool(), 10)

    def next_version(old: Registered) -> Registered:
        return replace(old, version=old.version + 1, sealed=None, updated_at=2.5)

    await asyncio.gather(*(store.change("acme", "weather", next_version) for _ in range(20)))
    found = await store.get("acme", "weather")
    assert (found.version, found.sealed, found.created_at, found.updated_at) == (21, None, 1.5, 2.5)
    with pytest.raises(ToolNotFound):
        await store.change("other", "weather", next_version)


async def test_a_change_that_fails_changes_nothing(opened: Database) -> None:
    store = ToolStore(opened)
    await store.add("acme", tool(), 10)

    def fail(_old: Registered) -> Registered:
        raise ToolExists

    with pytest.raises(ToolExists):
        await store.change("acme", "weather", fail)
    assert (await store.get("acme", "weather")).version == 1


async def test_the_tools_go_with_their_tenant(opened: Database) -> None:
    store = ToolStore(opened)
    await store.add("acme", tool(), 10)
    await opened.write(lambda c: c.execute(delete(tenants).where(tenants.c.id == "acme")).close())
    assert await store.all("acme") == ()


async def test_names_are_sorted_alike_everywhere(opened: Database) -> None:
    store = ToolStore(opened)
    for name in ("b", "A", "a", "B", "_", "0"):
        await store.add("acme", tool(name), 10)
    assert [found.spec.name for found in await store.all("acme")] == ["0", "A", "B", "_", "a", "b"]
