"""What the router's store promises on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import numpy as np
import pytest
import pytest_asyncio

from sentinella_plugins.kernel.clock import ManualClock
from sentinella_plugins.router.learning import GOOD, WIDTH
from sentinella_plugins.router.models import Entry, Floats, Learned, Observation, Tally
from sentinella_plugins.router.store import RouterStore
from tests.contract.conftest import Place, database

pytestmark = pytest.mark.asyncio
T = 1_700_000_000.0
ENTRY = Entry(
    request_id="req_1",
    tenant="acme",
    session="s",
    model="small",
    predictor="p",
    values=b"\x00\x01",
    document='{"a": "\u00e9"}',
    at=T,
)
SCORE = Observation(
    tenant="acme",
    id="o_1",
    model="small",
    task="code",
    source="feedback",
    score=0.5,
    comment="so so",
    predictor="p",
    values=b"\xff",
    at=T,
)
PROFILE = Learned(
    tenant="acme",
    model="small",
    predictor="p",
    ability=b"\x01\x02",
    observations=3,
    mean_score=0.5,
    updated_at=T,
)


@pytest_asyncio.fixture
async def store(sql_place: Place) -> AsyncIterator[RouterStore]:
    async with database(sql_place.url, ManualClock(T)) as opened:
        yield RouterStore(opened)


def sums(good: float) -> Floats:
    numbers = np.zeros(WIDTH)
    numbers[GOOD] = good
    return numbers


async def test_decisions_are_kept_and_found(store: RouterStore) -> None:
    later = replace(ENTRY, request_id="req_2", model="large", at=T + 1)
    await store.keep_decisions([later, ENTRY])
    await store.keep_decisions([ENTRY])
    assert await store.decision("req_1") == ENTRY and await store.decision("req_3") is None
    assert await store.last_model("acme", "s") == "large"
    assert await store.last_model("other", "s") is None and await store.last_model("acme", "t") is None


@pytest.mark.parametrize(
    ("keep", "before", "left"), [(3, 0.0, 3), (100, T + 6, 3), (0, 0.0, 0), (100, 0.0, 10)]
)
async def test_decisions_are_trimmed_by_number_and_age(
    store: RouterStore, keep: int, before: float, left: int
) -> None:
    await store.keep_decisions([replace(ENTRY, request_id=f"req_{n}", at=T + n) for n in range(10)])
    assert await store.trim_decisions(keep, before) == 10 - left
    kept = [n for n in range(10) if await store.decision(f"req_{n}")]
    assert kept == list(range(10 - left, 10))


async def test_workers_add_their_sums(store: RouterStore) -> None:
    keys = [("small", "code"), ("small", "*"), ("large", "code")]
    await asyncio.gather(
        *(store.merge_stats({key: sums(1.0) for key in keys[worker % 2 :]}, T, 100.0) for worker in range(20))
    )
    found = await store.stats(T, 100.0)
    assert {key: numbers[GOOD] for key, numbers in found.items()} == {
        keys[0]: 10.0,
        keys[1]: 20.0,
        keys[2]: 20.0,
    }


async def test_sums_fade_between_writes_and_until_they_are_read(store: RouterStore) -> None:
    key = ("small", "code")
    await store.merge_stats({key: sums(8.0)}, T, 100.0)
    await store.merge_stats({key: sums(1.0)}, T + 100, 100.0)
    assert (await store.stats(T + 100, 100.0))[key][GOOD] == pytest.approx(5.0)
    assert (await store.stats(T + 200, 100.0))[key][GOOD] == pytest.approx(2.5)
    await store.merge_stats({key: sums(1.0)}, T, 100.0)  # a worker whose clock is behind
    assert (await store.stats(T + 100, 100.0))[key][GOOD] == pytest.approx(6.0)
    await store.forget_stats(T + 101)
    assert await store.stats(T, 100.0) == {}


async def test_tallies_add_up(store: RouterStore) -> None:
    key, other = ("experiment", "x", "control"), ("shadow", "x", "control")
    await asyncio.gather(*(store.merge_tallies({key: Tally(1, 2.0, 4.0)}, T) for _ in range(20)))  # type: ignore[dict-item]
    await store.merge_tallies({other: Tally(1, 1.0, 1.0)}, T + 5)  # type: ignore[dict-item]
    await store.merge_tallies({}, T)
    assert await store.tallies() == {key: Tally(20, 40.0, 80.0), other: Tally(1, 1.0, 1.0)}
    await store.forget_tallies(T + 1)
    assert set(await store.tallies()) == {other}


async def test_a_score_is_replaced_by_the_next_one_of_its_id(store: RouterStore) -> None:
    assert await store.observe([SCORE], 10) == 1
    assert await store.observe([replace(SCORE, score=1.0), replace(SCORE, id="o_2")], 10) == 1
    found = {one.id: one for one in await store.observations("acme", "small", 10)}
    assert found == {"o_1": replace(SCORE, score=1.0), "o_2": replace(SCORE, id="o_2")}


async def test_the_newest_scores_of_each_tenant_and_model_are_kept(store: RouterStore) -> None:
    many = [replace(SCORE, id=f"o_{n:02}", at=T + n) for n in range(20)]
    await store.observe(
        [replace(SCORE, tenant="other", at=0.0), replace(SCORE, model="large", id="x", at=0.0)], 5
    )
    await store.observe(many, 5)
    assert await store.observations("acme", "small", 100) == many[:-6:-1]
    assert await store.observations("acme", "small", 2) == many[:-3:-1]
    assert len(await store.observations("other", "small", 9)) == 1
    assert len(await store.observations("acme", "large", 9)) == 1


async def test_profiles_are_found_by_tenant_and_by_what_changed(store: RouterStore) -> None:
    await store.keep_profiles([PROFILE, replace(PROFILE, tenant="other", updated_at=T + 5)])
    await store.keep_profiles([replace(PROFILE, ability=b"\x03", updated_at=T + 2)])
    assert await store.profiles("acme") == [replace(PROFILE, ability=b"\x03", updated_at=T + 2)]
    assert [one.tenant for one in await store.profiles_since(T + 3)] == ["other"]


async def test_a_tenant_can_be_forgotten(store: RouterStore) -> None:
    for tenant in ("acme", "other"):
        await store.keep_decisions([replace(ENTRY, request_id=f"req_{tenant}", tenant=tenant)])
        await store.observe([replace(SCORE, tenant=tenant)], 5)
        await store.keep_profiles([replace(PROFILE, tenant=tenant)])
    await store.forget_tenant("acme")
    for tenant, left in (("acme", 0), ("other", 1)):
        assert len(await store.profiles(tenant)) == len(await store.observations(tenant, "small", 9)) == left
        assert (await store.decision(f"req_{tenant}") is not None) == bool(left)
