"""Several workers, restarts, crashes: every index comes to what the store holds."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import delete

from sentinella_plugins.cache.invalidation import Invalidation
from sentinella_plugins.kernel.call import Answered, CacheMark, Call, Outcome
from sentinella_plugins.kernel.clock import ManualClock, SystemClock
from sentinella_plugins.kernel.errors import Unavailable
from sentinella_plugins.storage.tables import cache_log
from tests.unit.cache.parts import Worker, call, success, worker

pytestmark = pytest.mark.asyncio
FRANCE, ALIKE = "What is the capital of France?", "What's the capital city of France?"
ERROR = Outcome(status="error")


async def kind(one: Worker, text: str, **changes: object) -> str | None:
    asked = await one.ask(call(text, **changes), ERROR)  # type: ignore[arg-type]
    mark = asked.note(CacheMark)
    return mark and mark.kind


def said(asked: Call) -> str:
    answered = asked.note(Answered)
    return "" if answered is None else str(answered.reply.body["choices"])


async def test_what_one_worker_keeps_the_other_finds(tmp_path: Path) -> None:
    async with worker(tmp_path) as one, worker(tmp_path) as other:
        await other.service.round()
        await one.ask(call(FRANCE))
        await one.service.write()
        assert await kind(other, FRANCE) == "exact"
        assert await kind(other, ALIKE) is None
        await other.service.round()
        assert await kind(other, ALIKE) == "semantic"


async def test_a_known_question_is_fetched_without_a_vector(tmp_path: Path) -> None:
    async with worker(tmp_path) as one, worker(tmp_path) as other:
        await one.ask(call(FRANCE))
        await one.sync()
        await other.service.round()
        assert await kind(other, FRANCE) == "exact"
        assert other.encoder.asked == []


async def test_while_the_other_worker_is_not_heard_a_near_question_answers(tmp_path: Path) -> None:
    async with worker(tmp_path) as one, worker(tmp_path) as other:
        await other.ask(call(ALIKE))
        await other.sync()
        await one.ask(call(FRANCE))
        await one.service.write()
        assert await kind(other, FRANCE) == "semantic"
        await other.service.round()
        assert await kind(other, FRANCE) == "exact"


async def test_what_one_worker_drops_the_other_forgets(tmp_path: Path) -> None:
    async with worker(tmp_path) as one, worker(tmp_path) as other:
        await one.ask(call(FRANCE))
        await one.sync()
        await other.service.round()
        assert await kind(other, ALIKE) == "semantic"
        assert await one.service.invalidate("acme", Invalidation()) == 1
        await other.service.round()
        assert await kind(other, FRANCE) is None
        assert await kind(other, ALIKE) is None
        assert other.service._semantic is not None
        await other.service._semantic.on_thread(lambda _index: None)
        assert len(other.index) == 0


async def test_a_newer_answer_of_another_worker_replaces(tmp_path: Path) -> None:
    clock = ManualClock()
    async with worker(tmp_path, clock=clock) as one, worker(tmp_path, clock=clock) as other:
        await one.ask(call(FRANCE), success("old"))
        await one.sync()
        await other.service.round()
        assert "old" in said(await other.service.lookup(call(FRANCE)))
        clock.advance(1)
        await one.ask(call(FRANCE, options={"cache": {"mode": "refresh"}}), success("new"))
        await one.sync()
        await other.service.round()
        assert "new" in said(await other.service.lookup(call(FRANCE)))
        assert "new" in said(await one.service.lookup(call(FRANCE)))


async def test_after_a_restart_everything_is_found(tmp_path: Path) -> None:
    async with worker(tmp_path) as one:
        await one.ask(call(FRANCE))
    async with worker(tmp_path) as again:
        await again.service.round()
        assert await kind(again, ALIKE) == "semantic"
        assert await kind(again, FRANCE) == "exact"


async def test_after_a_crash_what_was_written_is_found(tmp_path: Path) -> None:
    async with worker(tmp_path) as one:
        await one.ask(call(FRANCE))
        await one.service.write()
        await one.ask(call("How do whales sleep?"))
        one.service._shelf._unwritten.clear()  # as if it had died here
    async with worker(tmp_path) as again:
        await again.service.round()
        assert await kind(again, ALIKE) == "semantic"
        assert await kind(again, "How do whales sleep?") is None


async def test_who_missed_too_much_reads_everything_anew(tmp_path: Path) -> None:
    async with worker(tmp_path) as one, worker(tmp_path) as other:
        await one.ask(call("How do whales sleep?"))
        await one.sync()
        await other.service.round()
        await one.service.invalidate("acme", Invalidation())
        await one.ask(call(FRANCE))
        await one.sync()
        await one.database.write(
            lambda connection: connection.execute(delete(cache_log).where(cache_log.c.seq < 3)).close()
        )
        await other.service.round()
        assert await kind(other, ALIKE) == "semantic"
        assert await kind(other, "How do whales sleep?") is None
        assert len(other.index) == 1


async def test_vectors_of_another_encoder_are_not_compared(tmp_path: Path) -> None:
    async with worker(tmp_path) as one:
        await one.ask(call(FRANCE))
    async with worker(tmp_path) as other:
        other.encoder.name = "another"
        await other.service.round()
        assert len(other.index) == 0
        assert await kind(other, FRANCE) == "exact"


async def test_the_lag_is_told(tmp_path: Path) -> None:
    clock, lags = ManualClock(), []
    async with worker(tmp_path, clock=clock) as one:
        one.service._follower._on_lag = lags.append
        await one.service.round()
        clock.advance(9)
        assert one.service.lag_s == 9
        await one.service.round()
        clock.advance(3)
        await one.database.close()
        with pytest.raises(Unavailable):
            await one.service.round()
        assert lags == [0, 0, 3]


async def test_answers_outlive_an_outage_of_the_store(tmp_path: Path) -> None:
    async with worker(tmp_path) as one:
        await one.ask(call(FRANCE))
        put, one.entries.put = one.entries.put, _away  # type: ignore[method-assign,assignment]
        with pytest.raises(Unavailable):
            await one.service.write()
        assert await kind(one, FRANCE) == "exact"
        one.entries.put = put  # type: ignore[method-assign]
        await one.service.write()
        assert (await one.service.stats("acme")).entries == 1


async def _away(_entries: object) -> None:
    raise Unavailable("The store is away.")


async def test_the_loop_writes_and_follows_by_itself(tmp_path: Path) -> None:
    settings = {"clock": SystemClock(), "follow_s": 0.02}
    async with worker(tmp_path, **settings) as one, worker(tmp_path, **settings) as other:  # type: ignore[arg-type]
        tasks = [asyncio.create_task(each.service.run()) for each in (one, other)]
        await one.ask(call(FRANCE))
        async with asyncio.timeout(10):
            while await kind(other, ALIKE) != "semantic":
                await asyncio.sleep(0.01)
        assert one.service.connected
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_start_from_a_snapshot_reads_what_came_after_it(tmp_path: Path) -> None:
    clock = SystemClock()
    async with worker(tmp_path, clock=clock, snapshots=tmp_path) as one:
        await one.ask(call("How do whales sleep?"))
        await one.ask(call("Who wrote Hamlet?"))
        await one.sync()
        assert (tmp_path / "cache.index").exists()
        await one.ask(call(FRANCE))
        await one.service.invalidate("acme", Invalidation(similar_to="Who wrote Hamlet?"))
        await one.sync()
    async with worker(tmp_path, clock=clock, snapshots=tmp_path) as again:
        walked = 0

        async def walk(*_arguments: object) -> list[object]:
            nonlocal walked
            walked += 1
            return []

        again.entries.walk = walk  # type: ignore[method-assign,assignment]
        await again.service.round()
        assert walked == 0
        assert await kind(again, ALIKE) == "semantic"
        assert await kind(again, "How is it that whales sleep?") == "semantic"
        assert len(again.index) == 2


@pytest.mark.parametrize("damage", ["short", "flipped", "foreign", "empty"])
async def test_a_damaged_snapshot_is_not_used(tmp_path: Path, damage: str) -> None:
    async with worker(tmp_path, clock=SystemClock(), snapshots=tmp_path) as one:
        await one.ask(call(FRANCE))
        await one.sync()
    file = tmp_path / "cache.index"
    whole = file.read_bytes()
    file.write_bytes(
        {
            "short": whole[:-100],
            "flipped": whole[:-1] + bytes([whole[-1] ^ 1]),
            "foreign": whole.replace(b"minilm", b"maxilm"),
            "empty": b"",
        }[damage]
    )
    async with worker(tmp_path, clock=SystemClock(), snapshots=tmp_path) as again:
        await again.service.round()
        assert await kind(again, ALIKE) == "semantic"


async def test_a_snapshot_of_another_store_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    async with worker(tmp_path / "a", clock=SystemClock(), snapshots=tmp_path) as one:
        await one.ask(call(FRANCE))
        await one.sync()
    async with worker(tmp_path / "b", clock=SystemClock(), snapshots=tmp_path) as other:
        await other.service.round()
        assert len(other.index) == 0
