from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from sentinella_plugins.kernel.access import Recent, matches, may_use
from sentinella_plugins.kernel.clock import ManualClock


@dataclass
class Shelf:
    """A store whose answers come when it is told to."""

    books: dict[str, str] = field(default_factory=dict)
    reads: list[str] = field(default_factory=list)
    opened: asyncio.Event = field(default_factory=asyncio.Event)

    async def load(self, key: str) -> str | None:
        self.reads.append(key)
        found = self.books.get(key)
        await self.opened.wait()
        return found


async def others_turn() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def recent(shelf: Shelf, clock: ManualClock, *, size: int = 3, ttl_s: float = 0.5) -> Recent[str, str]:
    return Recent(shelf.load, clock, ttl_s=ttl_s, size=size)


def open_shelf(**books: str) -> Shelf:
    shelf = Shelf(dict(books))
    shelf.opened.set()
    return shelf


@pytest.mark.asyncio
async def test_many_ask_and_one_reads() -> None:
    shelf = Shelf({"a": "A"})
    memory = recent(shelf, ManualClock())
    asking = asyncio.gather(*(memory.get("a") for _ in range(100)))
    await others_turn()
    shelf.opened.set()
    assert await asking == ["A"] * 100
    assert shelf.reads == ["a"]


@pytest.mark.asyncio
async def test_an_answer_is_trusted_until_it_is_too_old() -> None:
    shelf, clock = open_shelf(a="A"), ManualClock()
    memory = recent(shelf, clock)
    assert await memory.get("a") == "A"
    shelf.books["a"] = "B"
    clock.advance(0.49)
    assert await memory.get("a") == "A"
    clock.advance(0.01)
    assert await memory.get("a") == "B"


@pytest.mark.asyncio
async def test_a_slow_read_is_as_old_as_its_beginning() -> None:
    shelf, clock = Shelf({"a": "A"}), ManualClock()
    memory = recent(shelf, clock)
    slow = asyncio.ensure_future(memory.get("a"))
    await others_turn()
    clock.advance(0.6)
    shelf.books["a"] = "B"
    later = asyncio.ensure_future(memory.get("a"))
    await others_turn()
    shelf.opened.set()
    assert (await slow, await later) == ("A", "B")
    assert await memory.get("a") == "B"


@pytest.mark.asyncio
async def test_what_is_forgotten_during_a_read_is_not_kept() -> None:
    shelf = Shelf({"a": "A"})
    memory = recent(shelf, ManualClock())
    asking = asyncio.ensure_future(memory.get("a"))
    await others_turn()
    shelf.books["a"] = "B"
    memory.forget("a")
    shelf.opened.set()
    await asking
    assert await memory.get("a") == "B"


@pytest.mark.asyncio
async def test_unknown_keys_are_remembered_beside_the_known() -> None:
    shelf = open_shelf(a="A", b="B", c="C")
    memory = recent(shelf, ManualClock())
    for key in ["a", "b", "c", *map(str, range(10)), "9"]:
        await memory.get(key)
    assert shelf.reads == ["a", "b", "c", *map(str, range(10))]
    for key in "abc":
        assert memory.last(key) == key.upper()


@pytest.mark.asyncio
async def test_the_longest_unused_goes_first() -> None:
    shelf = open_shelf(a="A", b="B", c="C", d="D")
    memory = recent(shelf, ManualClock())
    for key in "abcad":
        await memory.get(key)
    assert [memory.last(key) for key in "abcd"] == ["A", None, "C", "D"]


@pytest.mark.asyncio
async def test_one_who_leaves_does_not_take_the_read_along() -> None:
    shelf = Shelf({"a": "A"})
    memory = recent(shelf, ManualClock())
    first, second = asyncio.ensure_future(memory.get("a")), asyncio.ensure_future(memory.get("a"))
    await others_turn()
    first.cancel()
    shelf.opened.set()
    assert await second == "A"


def test_patterns() -> None:
    assert matches(None, "gpt-4o")
    assert not matches((), "gpt-4o")
    assert matches(("claude-*", "gpt-4?"), "gpt-4o")
    assert not matches(("GPT-*",), "gpt-4o")
    assert may_use(("gpt-*",), None, "gpt-4o")
    assert not may_use(("gpt-*",), ("claude-*",), "gpt-4o")
