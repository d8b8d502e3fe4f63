"""The corridor: in through every stage, out through every room, exactly once."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from sentinella_plugins.kernel.call import Call, Outcome, Reply
from sentinella_plugins.kernel.errors import Forbidden, SentinellaError
from sentinella_plugins.pipeline import Pipeline


@dataclass
class Room:
    """Writes down who came and who left; may refuse, answer, break or be slow."""

    name: str
    diary: list[str]
    refuses: Exception | None = None
    answers: bool = False
    breaks: bool = False
    takes: float = 0.0
    outcomes: list[Outcome] = field(default_factory=list)

    async def enter(self, call: Call) -> Call | Reply:
        self.diary.append(f"in {self.name}")
        if self.refuses:
            raise self.refuses
        return (
            Reply({"from": self.name}, self.name)
            if self.answers
            else call.evolve(model=f"{call.model}>{self.name}")
        )

    async def leave(self, call: Call, outcome: Outcome) -> None:
        await asyncio.sleep(self.takes)
        if self.breaks:
            raise RuntimeError("the books are wet")
        self.diary.append(f"out {self.name}")
        self.outcomes.append(outcome)


def call() -> Call:
    return Call(id="req", route="/", model="m", body={}, received_at=0, started=0)


def corridor(*rooms: Room) -> Pipeline:
    return Pipeline(gate=rooms[:1], inbound=rooms[1:], outbound=(), books=rooms)


@pytest.mark.asyncio
async def test_stages_change_copies_in_their_order() -> None:
    diary: list[str] = []
    pipeline = corridor(Room("a", diary), Room("b", diary), Room("c", diary))
    first = call()
    admitted = await pipeline.admit(first)
    entered, reply = await pipeline.enter(admitted)
    assert (first.model, admitted.model, entered.model, reply) == ("m", "m>a", "m>a>b>c", None)
    await pipeline.leave(entered, Outcome(status="success"))
    assert diary == ["in a", "in b", "in c", "out a", "out b", "out c"]


@pytest.mark.asyncio
async def test_an_early_answer_ends_the_walk() -> None:
    diary: list[str] = []
    pipeline = corridor(Room("a", diary), Room("b", diary, answers=True), Room("c", diary))
    _, reply = await pipeline.enter(call())
    assert reply == Reply({"from": "b"}, "b")
    assert diary == ["in b"]


@pytest.mark.asyncio
@pytest.mark.parametrize("error", [Forbidden(), ValueError("a bug")])
async def test_what_is_refused_on_the_way_in_is_settled_at_once(error: Exception) -> None:
    diary: list[str] = []
    rooms = Room("a", diary), Room("b", diary), Room("c", diary, refuses=error)
    with pytest.raises(type(error)):
        await corridor(*rooms).enter(call())
    assert diary == ["in b", "in c", "out a", "out b", "out c"]
    (outcome,) = rooms[0].outcomes
    assert outcome.status == "refused"
    assert isinstance(outcome.error, SentinellaError)


@pytest.mark.asyncio
async def test_a_room_that_breaks_keeps_no_other_from_its_books() -> None:
    diary: list[str] = []
    pipeline = corridor(Room("a", diary), Room("b", diary, breaks=True), Room("c", diary))
    await pipeline.leave(call(), Outcome(status="success"))
    assert diary == ["out a", "out c"]


@pytest.mark.asyncio
async def test_rooms_that_only_look_come_before_the_books_which_are_written_together() -> None:
    diary: list[str] = []
    slow, quick, looks = Room("slow", diary, takes=0.05), Room("quick", diary), Room("looks", diary)
    pipeline = Pipeline(gate=(), inbound=(), outbound=(looks,), books=(slow, quick))
    await pipeline.leave(call(), Outcome(status="success"))
    await pipeline.refuse(call(), Forbidden())
    assert diary == ["out looks", "out quick", "out slow", "out looks", "out slow", "out quick"]


@pytest.mark.asyncio
async def test_books_are_closed_even_when_the_client_is_gone() -> None:
    diary: list[str] = []
    pipeline = corridor(Room("a", diary, takes=0.05), Room("b", diary))
    leaving = asyncio.create_task(pipeline.leave(call(), Outcome(status="success")))
    await asyncio.sleep(0.01)
    leaving.cancel()
    await asyncio.sleep(0.1)
    assert diary == ["out b", "out a"]
