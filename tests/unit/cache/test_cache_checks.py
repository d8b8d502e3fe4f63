"""Hits are asked afresh in the background, and what comes out is learned by all workers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio

from sentinella_plugins.kernel.asking import Question
from sentinella_plugins.kernel.call import Answered, CacheMark, Outcome
from sentinella_plugins.kernel.errors import UpstreamFailed
from tests.unit.cache.parts import Worker, call, success, worker

pytestmark = pytest.mark.asyncio
FRANCE, ALIKE = "What is the capital of France?", "What's the capital city of France?"


@dataclass
class Model:
    """Answers fresh questions."""

    answer: str = "Paris."
    asked: list[Question] = field(default_factory=list)
    down: bool = False
    wait: asyncio.Event | None = None

    async def __call__(self, question: Question) -> Outcome:
        self.asked.append(question)
        if self.wait is not None:
            await self.wait.wait()
        if self.down:
            raise UpstreamFailed
        return success(self.answer)


@pytest.fixture
def model() -> Model:
    return Model()


@pytest_asyncio.fixture
async def one(tmp_path: Path, model: Model) -> AsyncIterator[Worker]:
    """Its dice always fall on checking."""
    async with worker(tmp_path, random=0.0) as opened:
        opened.service.ask = model
        await opened.ask(call(FRANCE))
        yield opened


async def learn(one: Worker) -> None:
    await one.service.settled()
    await one.sync()


async def test_a_hit_is_asked_afresh_on_the_tenants_account(one: Worker, model: Model) -> None:
    await one.ask(call(ALIKE, stream=True, stream_options={"include_usage": True}, temperature=0.5))
    await one.ask(call(ALIKE, stream=True))
    await learn(one)
    (question,) = model.asked
    assert (question.purpose, question.principal.tenant, question.model) == ("cache_check", "acme", "gpt")
    assert set(question.body) == {"messages"}
    errors = (await one.service.stats("acme")).errors
    assert (errors.checked, errors.wrong, errors.rate) == (1, 0, 0.0)


async def test_exact_hits_and_misses_are_not_checked(one: Worker, model: Model) -> None:
    await one.ask(call(FRANCE))
    await one.ask(call("How do whales sleep?"))
    await learn(one)
    assert model.asked == []


@pytest.mark.parametrize(
    ("kept", "fresh", "ok"),
    [
        ("Paris.", " paris. ", True),
        ("It is Paris.", "The capital of France is Paris.", True),
        ("Paris.", "I like to eat potatoes with butter.", False),
        ("It takes 12 days.", "It takes 13 days.", False),
        ("Paris. " * 60 + "12", "Paris. " * 60 + "13", True),
    ],
)
async def test_answers_are_compared(tmp_path: Path, model: Model, kept: str, fresh: str, ok: bool) -> None:
    model.answer = fresh
    async with worker(tmp_path, random=0.0, checks={"similarity": 0.7}) as one:
        one.service.ask = model
        await one.ask(call(FRANCE), success(kept))
        await one.ask(call(ALIKE))
        await learn(one)
        errors = (await one.service.stats("acme")).errors
        assert (errors.checked, errors.wrong) == (1, int(not ok))


async def test_an_entry_that_is_wrong_again_and_again_is_dropped(one: Worker, model: Model) -> None:
    model.answer = "I like to eat potatoes with butter."
    for _ in range(10):
        asked = await one.ask(call(ALIKE), Outcome(status="success", cached=True))
        await learn(one)
        if asked.note(Answered) is None:
            break
    stats = await one.service.stats("acme")
    assert stats.errors.wrong >= 1 and stats.errors.bar > 0.9
    mark = (await one.service.lookup(call(ALIKE))).note(CacheMark)
    assert mark is not None and mark.status == "miss"


async def test_all_workers_come_to_the_same_thresholds(tmp_path: Path, model: Model, one: Worker) -> None:
    model.answer = "I like to eat potatoes with butter."
    await one.ask(call(ALIKE))
    await learn(one)
    async with worker(tmp_path) as other:
        await other.service.round()
        mine, theirs = await one.service.stats("acme"), await other.service.stats("acme")
        assert mine.errors == theirs.errors
        assert theirs.errors.wrong == 1


async def test_untrusted_questions_teach_without_a_call(tmp_path: Path, model: Model) -> None:
    async with worker(tmp_path) as one:
        one.service.ask = model
        one.judge.score = 0.85
        await one.ask(call(FRANCE))
        near = [
            "What's the capital city of France?",
            "Which city is the capital of France?",
            "France's capital?",
        ]
        for number in range(40):
            await one.ask(call(near[number % 3], options={"cache": {"mode": "default", "ttl_s": 1}}))
            await learn(one)
            one.clock.advance(30)  # type: ignore[attr-defined]
        assert model.asked == []
        mark = (await one.service.lookup(call("What city is France's capital?"))).note(CacheMark)
        assert mark is not None and mark.kind == "semantic"


async def test_a_check_that_fails_says_nothing(one: Worker, model: Model) -> None:
    model.down = True
    await one.ask(call(ALIKE))
    await learn(one)
    assert (len(model.asked), (await one.service.stats("acme")).errors.checked) == (1, 0)


async def test_checks_are_bounded_by_minute(tmp_path: Path, model: Model) -> None:
    async with worker(tmp_path, random=0.0, checks={"per_minute": 3}) as one:
        one.service.ask = model
        await one.ask(call(FRANCE))
        for _ in range(10):
            await one.ask(call(ALIKE))
            await one.service.settled()
        assert len(model.asked) == 3
        one.clock.advance(20)  # type: ignore[attr-defined]
        await one.ask(call(ALIKE))
        await one.service.settled()
        assert len(model.asked) == 4


async def test_checks_at_the_same_time_are_bounded(tmp_path: Path, model: Model) -> None:
    model.wait = asyncio.Event()
    async with worker(tmp_path, random=0.0, checks={"max_running": 2}) as one:
        one.service.ask = model
        for number in range(10):
            await one.ask(call(f"{FRANCE} {number}"))
            await one.ask(call(f"{ALIKE} {number}"))
        await asyncio.sleep(0.05)
        assert len(model.asked) == 2
        model.wait.set()
        await one.service.settled()
        assert len(model.asked) == 10


async def test_a_burst_of_hits_of_one_entry_costs_one_check(tmp_path: Path, model: Model) -> None:
    async with worker(tmp_path, random=0.0, checks={"wait_s": 0.05, "max_rate": 0.5}) as one:
        one.service.ask = model
        await one.ask(call(FRANCE))
        for _ in range(10):
            await one.ask(call(ALIKE))
        assert model.asked == []
        await learn(one)
        assert len(model.asked) == 1
        ((_, told),) = await one.service._books.checks_since(0, 10)
        assert (told.weight, told.hits) == (20.0, 10)


async def test_hits_that_could_not_be_checked_do_not_count_as_right(tmp_path: Path, model: Model) -> None:
    async with worker(tmp_path, random=0.0, checks={"per_minute": 1, "max_rate": 0.5}) as one:
        one.service.ask = model
        await one.ask(call(FRANCE))
        for _ in range(10):
            await one.ask(call(ALIKE))
            await one.service.settled()
        one.clock.advance(60)  # type: ignore[attr-defined]
        await one.ask(call(ALIKE))
        await learn(one)
        checks = [told for _, told in await one.service._books.checks_since(0, 10)]
        assert [told.weight for told in checks] == [2.0, 2.0]
        assert [told.hits for told in checks] == [1, 0]


async def test_a_check_lets_calls_go_first(tmp_path: Path, model: Model) -> None:
    async with worker(tmp_path, random=0.0, checks={"wait_s": 0.2}) as one:
        one.service.ask = model
        await one.ask(call(FRANCE))
        await one.ask(call(ALIKE))
        begun = asyncio.get_running_loop().time()
        while not model.asked:
            await one.ask(call(FRANCE))
            await asyncio.sleep(0.005)
        assert 0.35 < asyncio.get_running_loop().time() - begun < 1


async def test_checks_can_be_off(tmp_path: Path, model: Model) -> None:
    async with worker(tmp_path, random=0.0, checks={"enabled": False}) as one:
        one.service.ask = model
        await one.ask(call(FRANCE))
        await one.ask(call(ALIKE))
        await one.service.settled()
        assert model.asked == []


async def test_a_hit_that_was_refused_is_not_checked(one: Worker, model: Model) -> None:
    await one.ask(call(ALIKE), Outcome(status="refused"))
    await one.service.settled()
    assert model.asked == []
