"""What the store of templates promises on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import delete, func, insert, select

from sentinella_plugins.kernel.clock import SystemClock
from sentinella_plugins.kernel.errors import Conflict, NotFound
from sentinella_plugins.kernel.ids import new_id
from sentinella_plugins.kernel.money import Nano
from sentinella_plugins.storage import Database
from sentinella_plugins.storage.tables import template_usage, template_versions, templates, tenants
from sentinella_plugins.templates.errors import TemplateNotFound
from sentinella_plugins.templates.models import MOST_LABELS, Content, Usage
from sentinella_plugins.templates.store import Draft, TemplateStore
from tests.contract.conftest import Place, database

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def opened(sql_place: Place) -> AsyncIterator[Database]:
    async with database(sql_place.url, SystemClock()) as found:
        rows = [{"id": n, "document": "{}", "created_at": 0.0, "updated_at": 0.0} for n in ("acme", "other")]
        await found.write(lambda connection: connection.execute(insert(tenants), rows).close())
        yield found


@pytest.fixture
def store(opened: Database) -> TemplateStore:
    return TemplateStore(opened, keep=5, most=4)


def draft(text: str = "Hello {name} \u0000 東京 🌦", **fields: Any) -> Draft:
    content = Content.model_validate(
        {
            "template": text,
            "variables": ["name", {"name": "o", "type": "object", "default": {"a": [1, None]}}],
            "description": "x",
        }
    )
    return Draft(**{"content": content, "source": "api", "at": 1.5, **fields})


async def add(store: TemplateStore, name: str = "t", tenant: str = "acme", **fields: Any) -> str:
    return (await store.add(tenant, new_id("tmpl"), name, draft(**fields))).id


async def numbers(store: TemplateStore, template: str, tenant: str = "acme") -> list[int]:
    return [version.number for version in await store.versions(tenant, template, 1_000, None)]


async def test_what_was_added_comes_back(store: TemplateStore) -> None:
    template = await add(store, labels=("production",))
    for ref in (template, "t"):
        head = await store.find("acme", ref)
        assert head is not None
        assert (head.id, head.name, head.version, head.created_at) == (template, "t", 1, 1.5)
        assert head.labels == {"production": {1: 1.0}}
    version = await store.version("acme", template, 1)
    assert version is not None
    assert version.content.model_dump() == draft().content.model_dump()
    assert (version.number, version.source, version.created_at) == (1, "api", 1.5)
    assert await store.version("acme", template, 2) is None
    assert await store.find("acme", "T") is None


async def test_names_are_taken_once_for_each_tenant(store: TemplateStore) -> None:
    await add(store)
    with pytest.raises(Conflict):
        await add(store)
    await add(store, tenant="other")
    with pytest.raises(NotFound):
        await add(store, tenant="nobody")
    results = await asyncio.gather(*(add(store, name="race") for _ in range(5)), return_exceptions=True)
    assert sum(isinstance(result, str) for result in results) == 1
    assert sum(isinstance(result, Conflict) for result in results) == 4


async def test_a_tenant_has_room_for_so_many(store: TemplateStore) -> None:
    for number in range(4):
        await add(store, name=f"t{number}")
    with pytest.raises(Conflict, match="at most 4"):
        await add(store, name="t4")
    await add(store, tenant="other")


async def test_no_version_is_lost_between_two_workers(sql_place: Place, opened: Database) -> None:
    async with database(sql_place.url, SystemClock()) as second:
        stores = [TemplateStore(place, keep=100, most=10) for place in (opened, second)]
        template = await add(stores[0])
        made = await asyncio.gather(
            *(store.append("acme", template, draft(f"{n}")) for n in range(15) for store in stores)
        )
        assert sorted(head.version for head in made if head) == list(range(2, 32))
        known = await stores[1].versions("acme", template, 100, None)
        assert len(known) == 31
        assert sorted(version.content.template or "" for version in known[:-1]) == sorted(
            [str(n) for n in range(15)] * 2
        )


async def test_of_two_changes_to_one_version_one_wins(sql_place: Place, opened: Database) -> None:
    async with database(sql_place.url, SystemClock()) as second:
        stores = [TemplateStore(place, keep=100, most=10) for place in (opened, second)]
        template = await add(stores[0])
        made = await asyncio.gather(
            *(store.append("acme", template, draft(), expected=1) for _ in range(5) for store in stores)
        )
        assert sum(head is not None for head in made) == 1
        assert await numbers(stores[0], template) == [2, 1]


async def test_old_versions_go_but_for_those_with_a_label(store: TemplateStore, opened: Database) -> None:
    template = await add(store, labels=("old",))
    for _ in range(10):
        await store.append("acme", "t", draft())
    assert await numbers(store, template) == [11, 10, 9, 8, 7, 1]
    usage = [number for number, _ in await store.usage("acme", template)]
    assert usage == [11, 10, 9, 8, 7, 1]
    await store.label("acme", "t", {"old": None})
    await store.append("acme", "t", draft())
    assert await numbers(store, template) == [12, 11, 10, 9, 8]
    page = await store.versions("acme", template, 2, 11)
    assert [version.number for version in page] == [10, 9]


async def test_labels(store: TemplateStore) -> None:
    template = await add(store)
    await store.append("acme", template, draft())
    head = await store.label("acme", "t", {"a": {1: 0.25, 2: 0.75}, "b": {2: 1.0}})
    assert head.labels == {"a": {1: 0.25, 2: 0.75}, "b": {2: 1.0}}
    await store.label("acme", "t", {"a": None})
    assert (await store.find("acme", "t")) == await store.find("acme", template)
    found = await store.find("acme", "t")
    assert found is not None and found.labels == {"b": {2: 1.0}}
    with pytest.raises(TemplateNotFound):
        await store.label("acme", "t", {"c": {3: 1.0}})
    with pytest.raises(Conflict):
        await store.label("acme", "t", {f"l{number}": {1: 1.0} for number in range(MOST_LABELS)})
    found = await store.find("acme", "t")
    assert found is not None and found.labels == {"b": {2: 1.0}}


async def test_files_are_imported_once(sql_place: Place, opened: Database) -> None:
    async with database(sql_place.url, SystemClock()) as second:
        stores = [TemplateStore(place, keep=5, most=10) for place in (opened, second)]
        mine = draft(source="file", file_digest="a")
        results = await asyncio.gather(
            *(store.import_("acme", new_id("tmpl"), "f", mine) for store in stores * 3),
            return_exceptions=True,
        )
        # On PostgreSQL the one that lost the race may be told that the name is taken.
        assert sum(result is not None and not isinstance(result, Conflict) for result in results) == 1
        assert await stores[0].import_("acme", new_id("tmpl"), "f", mine) is None
        assert (await stores[0].append("acme", "f", draft())) is not None
        assert await stores[1].import_("acme", new_id("tmpl"), "f", mine) is None
        changed = await stores[1].import_("acme", new_id("tmpl"), "f", draft(source="file", file_digest="b"))
        assert changed is not None and changed.version == 3


async def test_usage_adds_up(sql_place: Place, opened: Database) -> None:
    async with database(sql_place.url, SystemClock()) as second:
        stores = [TemplateStore(place, keep=5, most=10) for place in (opened, second)]
        template = await add(stores[0])
        other = await add(stores[0], name="other")
        used = Usage(
            calls=2, successes=1, errors=1, prompt_tokens=5, cost=Nano(7), latency_ms=1.5, last_used_at=9.0
        )
        rating = Usage(ratings=1, rating_sum=0.5)
        batch = {("acme", template, 1): used, ("acme", other, 1): rating, ("acme", template, 7): used}
        stolen = {("other", template, 1): used}
        await asyncio.gather(*(store.count(batch) for store in stores * 5), stores[0].count(stolen))
        ((number, sums),) = await stores[0].usage("acme", template)
        assert (number, sums.calls, sums.successes, sums.errors) == (1, 20, 10, 10)
        assert (sums.prompt_tokens, sums.cost, sums.latency_ms, sums.last_used_at) == (50, 70, 15.0, 9.0)
        ((_, sums),) = await stores[0].usage("acme", other)
        assert (sums.calls, sums.ratings, sums.rating_sum, sums.last_used_at) == (0, 10, 5.0, None)


async def test_tenants_do_not_meet(store: TemplateStore) -> None:
    template = await add(store)
    for ref in (template, "t"):
        assert await store.find("other", ref) is None
        for wrong in (
            store.append("other", ref, draft()),
            store.label("other", ref, {"a": {1: 1.0}}),
            store.remove("other", ref),
        ):
            with pytest.raises(TemplateNotFound):
                await wrong
    assert await store.version("other", template, 1) is None
    assert await numbers(store, template, "other") == []
    assert await store.usage("other", template) == []
    assert await store.page("other", 10, None) == []


async def test_pages(store: TemplateStore) -> None:
    made = sorted([await add(store, name=name) for name in "cab"])
    await store.append("acme", "a", draft("new"))
    first = await store.page("acme", 2, None)
    rest = await store.page("acme", 2, first[-1][0].id)
    assert [head.id for head, _ in first + rest] == made
    assert {
        head.name: (version.number, version.content.template == "new") for head, version in first + rest
    } == {
        "a": (2, True),
        "b": (1, False),
        "c": (1, False),
    }


@pytest.mark.parametrize("whole_tenant", [False, True])
async def test_nothing_is_left(store: TemplateStore, opened: Database, whole_tenant: bool) -> None:
    template = await add(store, labels=("x",))
    await store.append("acme", template, draft())
    if whole_tenant:
        gone = delete(tenants).where(tenants.c.id == "acme")
        await opened.write(lambda connection: connection.execute(gone).close())
    else:
        await store.remove("acme", "t")
    for table in (templates, template_versions, template_usage):
        count = select(func.count()).select_from(table)
        assert await opened.read(lambda connection, count=count: connection.scalar(count)) == 0
    await store.count({("acme", template, 1): Usage(calls=1)})
