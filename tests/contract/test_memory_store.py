"""Sessions on every SQL database."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from sentinella_plugins.kernel.clock import ManualClock
from sentinella_plugins.memory.archive import Archive, Shelf
from sentinella_plugins.memory.minutes import Minute, MinuteStore
from sentinella_plugins.memory.models import Entry, Head, Place, Turn
from sentinella_plugins.memory.store import SessionStore
from sentinella_plugins.storage import Database
from tests.contract.conftest import Place as Where
from tests.contract.conftest import database

PLACE = Place("acme", "", "chat/1 ünï")
ALL = Shelf("acme")
NOW = 1_000.0
pytestmark = pytest.mark.asyncio


class Stores:
    def __init__(self, opened: Database) -> None:
        self.turns, self.minutes, self.archive = SessionStore(opened), MinuteStore(opened), Archive(opened)

    async def answer(self, call: str, *texts: str, ref: str | None = None, place: Place = PLACE) -> Head:
        head = await self.turns.save(turn(call, *texts, ref=ref, place=place))
        assert head is not None
        return head

    async def texts(self, head: Head) -> list[str]:
        return [str(m.body["content"]) for m in await self.archive.messages(head, 100_000, None)]


@pytest_asyncio.fixture
async def stores(sql_place: Where) -> AsyncIterator[Stores]:
    async with database(sql_place.url, ManualClock()) as opened:
        yield Stores(opened)


def turn(call: str, *texts: str, ref: str | None = None, place: Place = PLACE, at: float = NOW) -> Turn:
    entries = tuple(entry(text) for text in texts)
    return Turn(place=place, ref=ref, call_id=call, at=at, entries=entries)


def entry(text: str) -> Entry:
    return Entry(role="user", text=f'{{"role":"user","content":"{text}"}}', tokens=2, bytes=10)


async def test_one_call_has_the_turn(stores: Stores) -> None:
    asked = (stores.turns.take(PLACE, f"call_{n}", NOW, NOW + 20) for n in range(8))
    granted = [taken.granted for taken in await asyncio.gather(*asked)]
    assert sorted(granted) == [False] * 7 + [True]
    other = Place("other", "", PLACE.id)
    assert (await stores.turns.take(other, "x", NOW, NOW + 20)).granted


async def test_a_turn_ends_by_saving_release_or_time(stores: Stores) -> None:
    assert (await stores.turns.take(PLACE, "a", NOW, NOW + 20)).head is None
    await stores.answer("a", "hi")
    taken = await stores.turns.take(PLACE, "b", NOW, NOW + 20)
    assert taken.granted and taken.head is not None and taken.head.turns == 1
    stores.turns.post_release(PLACE, "not mine")
    assert not (await stores.turns.take(PLACE, "c", NOW, NOW + 20)).granted
    stores.turns.post_release(PLACE, "b")
    assert (await stores.turns.take(PLACE, "c", NOW, NOW + 20)).granted
    await stores.turns.beat([(PLACE, "c")], NOW + 60)
    assert not (await stores.turns.take(PLACE, "d", NOW + 59, NOW + 80)).granted
    assert (await stores.turns.take(PLACE, "d", NOW + 60, NOW + 80)).granted


async def test_a_turn_is_kept_once_and_whole(stores: Stores) -> None:
    heads = await asyncio.gather(*(stores.answer("a", "1", "2") for _ in range(3)))
    assert {head.last_seq for head in heads} == {2}
    head = await stores.answer("b", "3", ref=heads[0].ref)
    assert (head.turns, head.messages, head.bytes, head.last_seq, head.version) == (2, 3, 30, 3, 2)
    assert await stores.texts(head) == ["1", "2", "3"]


async def test_two_first_turns_share_a_session(stores: Stores) -> None:
    heads = await asyncio.gather(*(stores.answer(f"call_{n}", f"{n}a", f"{n}b") for n in range(6)))
    assert len({head.ref for head in heads}) == 1
    texts = await stores.texts(max(heads, key=lambda head: head.version))
    assert sorted(texts) == sorted(f"{n}{part}" for n in range(6) for part in "ab")
    assert [text[0] for text in texts[::2]] == [text[0] for text in texts[1::2]]


async def test_a_deleted_session_takes_nothing_more(stores: Stores) -> None:
    head = await stores.answer("a", "1")
    await stores.archive.delete(head)
    assert await stores.turns.save(turn("b", "2", ref=head.ref)) is None
    assert await stores.archive.find(ALL, PLACE.id) is None
    assert (await stores.answer("c", "3")).ref != head.ref


async def test_the_tail_is_bounded_in_messages_and_tokens(stores: Stores) -> None:
    head = await stores.answer("a", *map(str, range(20)))

    async def tail(most: int, tokens: int) -> list[int]:
        return [message.seq for message in await stores.turns.tail(head, most, tokens)]

    assert await tail(100, 100) == list(range(1, 21))
    assert await tail(3, 100) == [18, 19, 20]
    assert await tail(100, 5) == [18, 19, 20]
    assert await tail(100, 0) == []
    await stores.minutes.write(head, Minute("sum", "model", 5, covered=18), NOW)
    covered = await stores.archive.find(ALL, PLACE.id)
    assert covered is not None and (covered.summary, covered.uncovered) == ("sum", 2)
    assert [m.seq for m in await stores.turns.tail(covered, 100, 100)] == [19, 20]


async def test_a_summary_is_made_by_one(stores: Stores) -> None:
    head = await stores.answer("a", *map(str, range(10)))
    claims = await asyncio.gather(*(stores.minutes.claim(head, NOW, NOW + 60) for _ in range(4)))
    assert len([claim for claim in claims if claim]) == 1
    assert await stores.minutes.claim(head, NOW + 60, NOW + 120)
    await stores.minutes.free(head)
    assert await stores.minutes.claim(head, NOW, NOW + 60)
    assert await stores.minutes.write(head, Minute("first", "model", 1, 4), NOW)
    assert await stores.minutes.write(head, Minute("late", "model", 1, 6), NOW) is None


async def test_only_what_is_covered_is_shed(stores: Stores) -> None:
    head = await stores.answer("a", *map(str, range(10)))
    same = await stores.turns.shed(head, 5, 0)
    assert same is not None and same.messages == 10
    await stores.minutes.write(head, Minute("sum", "model", 1, 6), NOW)
    shed = await stores.turns.shed(head, 2, 35)
    assert shed is not None and (shed.messages, shed.bytes) == (6, 60)
    assert await stores.texts(shed) == ["4", "5", "6", "7", "8", "9"]
    assert (await stores.answer("b", "10", ref=head.ref)).last_seq == 11


async def test_pages_and_deletion_stay_inside_the_tenant(stores: Stores) -> None:
    for tenant in ("acme", "other"):
        for number in range(5):
            await stores.answer(f"{tenant}{number}", "x", place=Place(tenant, "", f"s{number}"))
    heads = await stores.archive.page(ALL, 10, None)
    assert sorted(head.place.id for head in heads) == [f"s{n}" for n in range(5)]
    assert [h.ref for h in heads] == sorted((h.ref for h in heads), reverse=True)
    assert await stores.archive.page(ALL, 2, heads[1].ref) == heads[2:4]
    assert await stores.turns.count("acme", 3) == 3
    assert len(await stores.archive.delete_some(ALL)) == 5
    assert await stores.turns.count("acme", 10) == 0
    assert await stores.turns.count("other", 10) == 5


async def test_old_sessions_go_with_their_messages(stores: Stores) -> None:
    old = await stores.answer("a", "x", place=Place("acme", "", "old"))
    await stores.turns.save(turn("b", "x", place=Place("acme", "", "new"), at=NOW + 100))
    await stores.turns.take(old.place, "running", NOW, NOW + 200)
    assert await stores.archive.trim(NOW + 150, NOW + 50, 10) == 0
    assert await stores.archive.trim(NOW + 200, NOW + 50, 10) == 1
    assert await stores.texts(old) == []
    assert await stores.archive.trim(NOW + 200, None, 10) == 0


async def test_ten_thousand_messages_are_no_burden(stores: Stores) -> None:
    head = await stores.answer("a", *(str(n) for n in range(10_000)))
    begun = time.perf_counter()
    for _ in range(10):
        tail = await stores.turns.tail(head, 400, 32_000)
    took = (time.perf_counter() - begun) / 10
    assert [message.seq for message in tail] == list(range(9_601, 10_001))
    assert took < 0.2
