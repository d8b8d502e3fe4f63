"""What a call finds, and what is kept of its answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import select, update

from sentinella_plugins.cache.invalidation import Invalidation
from sentinella_plugins.cache.models import CacheMiss
from sentinella_plugins.cache.stage import CacheAnswer, CacheKeep, CacheLookup
from sentinella_plugins.kernel.call import Answered, CacheMark, Call, Outcome, Reply
from sentinella_plugins.kernel.clock import ManualClock
from sentinella_plugins.kernel.errors import Unavailable
from sentinella_plugins.kernel.events import PartFailed
from sentinella_plugins.storage.tables import cache_entries
from sentinella_plugins.vectors.encoder import LocalEncoder
from sentinella_plugins.vectors.models import Encoding
from tests.unit.cache.parts import Worker, body, call, minilm, success, worker

pytestmark = pytest.mark.asyncio
FRANCE, ALIKE = "What is the capital of France?", "What's the capital city of France?"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest_asyncio.fixture
async def one(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Worker]:
    async with worker(tmp_path, clock=clock) as opened:
        yield opened


def mark(asked: Call) -> CacheMark:
    found = asked.note(CacheMark)
    assert found is not None
    return found


def said(asked: Call) -> str:
    answered = asked.note(Answered)
    assert answered is not None
    choices: list[dict[str, dict[str, str]]] = answered.reply.body["choices"]  # type: ignore[assignment]
    return choices[0]["message"]["content"]


async def test_the_same_request_is_answered(one: Worker, clock: ManualClock) -> None:
    first = await one.ask(call(FRANCE))
    assert mark(first).status == "miss" and first.note(Answered) is None
    clock.advance(7)
    second = await one.service.lookup(call(FRANCE))
    found = mark(second)
    assert (found.status, found.kind, found.similarity, found.age_s, found.saved) == (
        "hit",
        "exact",
        1.0,
        7.0,
        500,
    )
    reply = await CacheAnswer().enter(second)
    assert isinstance(reply, Reply)
    assert (reply.body, reply.source, reply.mark) == (body(), "cache", found)


async def test_a_near_question_is_answered(one: Worker) -> None:
    first = await one.ask(call(FRANCE))
    second = await one.service.lookup(call(ALIKE))
    found = mark(second)
    assert (found.status, found.kind, said(second)) == ("hit", "semantic", "Paris.")
    assert found.similarity is not None and 0.85 <= found.similarity < 1
    assert found.entry_id == mark(await one.service.lookup(call(FRANCE))).entry_id
    encodings = first.note(Encoding), second.note(Encoding)
    assert [encoding and encoding.text for encoding in encodings] == [FRANCE, ALIKE]


async def test_a_question_is_encoded_once(one: Worker) -> None:
    first = await one.ask(call(FRANCE))
    await one.ask(call(ALIKE).with_note(first.note(Encoding)))
    assert one.encoder.asked == [FRANCE, ALIKE]
    again = await one.service.lookup(call(ALIKE))
    known = call(ALIKE, temperature=0.5).with_note(again.note(Encoding))
    await one.service.lookup(known)
    assert one.encoder.asked == [FRANCE, ALIKE, ALIKE]


async def test_an_encoder_that_is_free_is_used_by_the_thread_that_judges(tmp_path: Path) -> None:
    local = LocalEncoder(minilm)
    await local.open()
    async with worker(tmp_path, encoder=local) as one:
        await one.ask(call("What is the capital of France?"))
        mark = (await one.ask(call("What's the capital city of France?"))).note(CacheMark)
        assert mark is not None and mark.kind == "semantic"
        marks = await asyncio.gather(*(one.ask(call(f"How tall is mountain {n}?")) for n in range(9)))
        assert {mark.note(CacheMark).status for mark in marks} == {"miss"}  # type: ignore[union-attr]
    await local.close()


async def test_guarded_far_and_foreign_questions_are_not_answered(one: Worker) -> None:
    await one.ask(call("What is 12 times 3?"))
    assert mark(await one.ask(call("What is 13 times 3?"))).status == "miss"
    assert mark(await one.ask(call("How do whales sleep?"))).status == "miss"
    await one.ask(call(FRANCE))
    assert mark(await one.ask(call(ALIKE, tenant="other"))).status == "miss"
    assert mark(await one.ask(call(ALIKE, model="claude"))).status == "miss"
    assert mark(await one.ask(call(ALIKE, options={"session_id": "s1"}))).status == "miss"
    assert mark(await one.ask(call(ALIKE, seed=1))).status == "miss"


async def test_a_request_may_raise_and_lower_the_threshold(one: Worker) -> None:
    await one.ask(call(FRANCE))

    async def status(text: str, threshold: float) -> str:
        asked = call(text, options={"cache": {"threshold": threshold}})
        return mark(await one.ask(asked, Outcome(status="error"))).status

    near = mark(await one.service.lookup(call(ALIKE))).similarity or 0
    assert await status(ALIKE, near + 0.01) == "miss"
    assert await status(ALIKE, near - 0.01) == "hit"
    assert await status("How do whales sleep?", 0) == "miss"


async def test_an_unsure_score_is_not_served(one: Worker) -> None:
    one.judge.score = 0.85
    await one.ask(call(FRANCE))
    assert mark(await one.ask(call(ALIKE))).status == "miss"


@pytest.mark.parametrize(("score", "compared"), [(0.99, 1), (0.92, 2)])
async def test_from_the_nearest_on_until_one_is_sure(one: Worker, score: float, compared: int) -> None:
    one.judge.score = 0.5
    for text in (FRANCE, ALIKE):
        await one.ask(call(text))
    one.judge.score, one.judge.seen = score, []
    assert mark(await one.ask(call("What is the capital city of France?"))).kind == "semantic"
    assert len(one.judge.seen) == compared
    assert one.judge.seen[0] == ALIKE


async def test_streamed_and_whole_answers_serve_each_other(one: Worker) -> None:
    await one.ask(call(FRANCE, stream=True))
    assert mark(await one.ask(call(FRANCE, stream=False))).status == "hit"
    await one.ask(call("How do whales sleep?", stream=False))
    assert mark(await one.ask(call("How do whales sleep?", stream=True))).status == "hit"


async def test_the_reason_of_a_bypass_is_shown_and_nothing_is_kept(one: Worker) -> None:
    for _ in range(2):
        asked = await one.ask(call("What is the weather today?"))
        assert (mark(asked).status, mark(asked).reason) == ("bypass", "time")
    assert (await one.service.stats("acme")).bypassed == {"time": 2}


async def test_modes(one: Worker) -> None:
    with pytest.raises(CacheMiss):
        await one.service.lookup(call(FRANCE, options={"cache": {"mode": "only"}}))
    await one.ask(call(FRANCE, options={"cache": {"mode": "bypass"}}))
    with pytest.raises(CacheMiss):
        await one.service.lookup(call(FRANCE, headers={"cache-control": "only-if-cached"}))
    await one.ask(call(FRANCE), success("Lyon."))
    again = await one.ask(call(FRANCE, headers={"cache-control": "no-cache"}))
    assert (mark(again).status, mark(again).reason) == ("bypass", "refresh")
    assert said(await one.service.lookup(call(FRANCE, options={"cache": {"mode": "only"}}))) == "Paris."
    assert said(await one.service.lookup(call(ALIKE, options={"cache": {"mode": "only"}}))) == "Paris."
    with pytest.raises(CacheMiss, match="time"):
        await one.service.lookup(call("Any news?", options={"cache": {"mode": "only"}}))


async def test_time_to_live(one: Worker, clock: ManualClock) -> None:
    await one.ask(call(FRANCE, options={"cache": {"ttl_s": 10}}))
    await one.service.write()
    clock.advance(9)
    assert mark(await one.service.lookup(call(FRANCE))).status == "hit"
    too_old = call(FRANCE, headers={"cache-control": "max-age=8"})
    assert mark(await one.ask(too_old, Outcome(status="error"))).status == "miss"
    clock.advance(1)
    assert mark(await one.ask(call(FRANCE), Outcome(status="error"))).status == "miss"
    assert mark(await one.ask(call(ALIKE), Outcome(status="error"))).status == "miss"
    await one.service.clear_up()
    assert (await one.service.stats("acme")).entries == 0


@pytest.mark.parametrize(
    ("settings", "ttl"),
    [
        ({"ttl_s": 9}, 9),
        ({"ttl_s": 9, "ttl_by_model": {"claude*": 1, "g*": 5, "gpt": 2}}, 5),
        ({"ttl_s": 9, "ttl_by_tenant": {"acme": 4, "other": 1}}, 4),
        ({"ttl_s": 3, "ttl_by_tenant": {"acme": 4}}, 3),
    ],
)
async def test_usual_times_to_live(tmp_path: Path, settings: dict[str, object], ttl: float) -> None:
    async with worker(tmp_path, meaning=False, **settings) as one:
        await one.ask(call(FRANCE))
        ((entry,), _) = await one.service.entries("acme", None, 10)
        assert entry.expires_at - entry.created_at == ttl


async def test_what_is_not_kept(one: Worker) -> None:
    for outcome in (
        Outcome(status="error"),
        success(body("Half", "length")),
        success("I'm sorry, but I can't."),
        success("x" * 300_000),
    ):
        assert mark(await one.ask(call(FRANCE), outcome)).status == "miss"
    stats = await one.service.stats("acme")
    assert stats.not_kept == {"status": 1, "finish_reason": 1, "refusal": 1, "too_large": 1}
    assert (stats.entries, stats.misses) == (0, 4)


async def test_personal_answers_belong_to_one_user(tmp_path: Path) -> None:
    async with worker(tmp_path, personal="exact") as one:
        await one.ask(call("Where is my order?", user="u1"))
        assert mark(await one.ask(call("Where is my order?", user="u1"))).status == "hit"
        assert mark(await one.ask(call("Where is my order?", user="u2"))).status == "miss"
        assert mark(await one.ask(call("Where's my order?", user="u1"))).status == "miss"


async def test_a_model_that_the_key_may_not_use_gives_no_answer(tmp_path: Path) -> None:
    async with worker(tmp_path) as one:
        allowed = {"gpt"}

        async def may_use(_call: Call) -> object:
            return allowed.__contains__

        one.service._lookup._allowed = may_use  # type: ignore[assignment]
        await one.ask(call(FRANCE, model="auto"))
        assert mark(await one.service.lookup(call(FRANCE, model="auto"))).status == "hit"
        allowed.clear()
        assert mark(await one.ask(call(FRANCE, model="auto"))).status == "miss"
        assert mark(await one.ask(call(ALIKE, model="auto"))).status == "miss"


async def test_equal_calls_at_the_same_time_cost_one(one: Worker) -> None:
    leader = await one.service.lookup(call(FRANCE))
    waiting = [asyncio.create_task(one.service.lookup(call(FRANCE, stream=bool(i % 2)))) for i in range(50)]
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    await one.service.keep(leader, success())
    assert {mark(asked).kind for asked in await asyncio.gather(*waiting)} == {"exact"}


async def test_a_stampede_on_a_near_question_searches_once(one: Worker) -> None:
    await one.ask(call(FRANCE))
    found = await asyncio.gather(*(one.service.lookup(call(ALIKE)) for _ in range(20)))
    assert {mark(asked).kind for asked in found} == {"semantic"}
    assert one.encoder.asked.count(ALIKE) == 1


async def test_when_the_first_fails_one_other_asks(one: Worker) -> None:
    leader = await one.service.lookup(call(FRANCE))
    waiting = [asyncio.create_task(one.service.lookup(call(FRANCE))) for _ in range(3)]
    await asyncio.sleep(0)
    await one.service.keep(leader, Outcome(status="error"))
    done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    (second,) = done
    assert mark(second.result()).status == "miss"
    await one.service.keep(second.result(), success())
    found = await asyncio.gather(*waiting)
    assert sorted(mark(asked).status for asked in found) == ["hit", "hit", "miss"]


async def test_when_the_first_answer_may_not_be_shared_all_ask(one: Worker) -> None:
    leader = await one.service.lookup(call(FRANCE))
    waiting = [asyncio.create_task(one.service.lookup(call(FRANCE))) for _ in range(3)]
    await asyncio.sleep(0)
    await one.service.keep(leader, success("I cannot say."))
    assert [mark(await task).status for task in waiting] == ["miss"] * 3


async def test_nobody_waits_for_ever(tmp_path: Path) -> None:
    async with worker(tmp_path, flight_wait_s=0.05) as one:
        leader = await one.service.lookup(call(FRANCE))
        assert mark(await one.service.lookup(call(FRANCE))).status == "miss"
        await one.service.keep(leader, success())


async def test_who_goes_away_does_not_hold_up_the_others(one: Worker) -> None:
    leader = await one.service.lookup(call(FRANCE))
    gone, stays = (asyncio.create_task(one.service.lookup(call(FRANCE))) for _ in range(2))
    await asyncio.sleep(0)
    gone.cancel()
    await one.service.keep(leader, Outcome(status="cancelled"))
    assert mark(await stays).status == "miss"
    await one.service.keep(await stays, success())
    assert mark(await one.service.lookup(call(FRANCE))).status == "hit"


async def test_invalidation(one: Worker, clock: ManualClock) -> None:
    async def fill() -> None:
        await one.service.invalidate("acme", Invalidation())
        await one.ask(call(FRANCE, metadata={"cache_tags": "geo,eu"}))
        clock.advance(10)
        await one.ask(call("How do whales sleep?", model="claude"), success(model="claude"))
        await one.ask(call(FRANCE, tenant="other"))

    for what, dropped in (
        (Invalidation(tag="geo"), 1),
        (Invalidation(tag="ge"), 0),
        (Invalidation(model="claude"), 1),
        (Invalidation(model="claude", tag="geo"), 0),
        (Invalidation(older_than_s=5), 1),
        (Invalidation(similar_to=ALIKE), 1),
        (Invalidation(similar_to=ALIKE, threshold=0.999), 0),
        (Invalidation(id="ce_unknown"), 0),
        (Invalidation(), 2),
    ):
        await fill()
        assert await one.service.invalidate("acme", what) == dropped, what
    await fill()
    entry_id = mark(await one.service.lookup(call(FRANCE))).entry_id
    assert await one.service.invalidate("other", Invalidation(id=entry_id)) == 0
    assert await one.service.invalidate("acme", Invalidation(id=entry_id)) == 1
    assert mark(await one.ask(call(ALIKE), Outcome(status="error"))).status == "miss"
    assert mark(await one.ask(call(FRANCE), Outcome(status="error"))).status == "miss"
    assert mark(await one.service.lookup(call(FRANCE, tenant="other"))).status == "hit"
    assert len(one.index) == 2


async def test_a_poisoned_entry_is_a_miss_and_is_dropped(tmp_path: Path) -> None:
    async with worker(tmp_path) as one:
        await one.ask(call(FRANCE))
        await one.sync()
    async with worker(tmp_path) as other:
        await other.service.round()
        await other.database.write(
            lambda connection: connection.execute(
                update(cache_entries).values(body=b'{"choices": []}')
            ).close()
        )
        assert mark(await other.service.lookup(call(ALIKE))).status == "miss"
        left = await other.database.read(lambda connection: connection.execute(select(cache_entries)).all())
        assert left == []
        assert mark(await other.service.lookup(call(FRANCE, temperature=0.5))).status == "miss"


async def test_when_the_index_knows_more_than_the_store_it_forgets(one: Worker) -> None:
    kept = mark(await one.ask(call(FRANCE)) and await one.service.lookup(call(FRANCE))).entry_id or ""
    await one.service.write()
    await one.entries.drop("acme", [kept])
    one.service._shelf.forget("acme", kept)
    assert mark(await one.service.lookup(call(ALIKE))).status == "miss"
    await one.service._semantic.on_thread(lambda _index: None)  # type: ignore[union-attr]
    assert len(one.index) == 0


async def test_without_a_store_calls_go_on(one: Worker) -> None:
    failed: list[PartFailed] = []

    async def heard(event: PartFailed) -> None:
        failed.append(event)

    one.events.subscribe(PartFailed, heard)
    await one.database.close()
    asked = await one.ask(call(FRANCE))
    assert (mark(asked).status, mark(asked).reason) == ("bypass", "unavailable")
    assert [event.part for event in failed] == ["cache"]
    waiting = await asyncio.gather(*(one.service.lookup(call(ALIKE)) for _ in range(5)))
    assert {mark(each).reason for each in waiting} == {"unavailable"}


async def test_without_a_store_calls_are_refused_when_failures_close(tmp_path: Path) -> None:
    async with worker(tmp_path, on_failure="closed") as one:
        await one.database.close()
        with pytest.raises(Unavailable):
            await one.service.lookup(call(FRANCE))


async def test_without_an_encoder_equal_requests_are_answered(one: Worker) -> None:
    one.encoder.down = True
    assert mark(await one.ask(call(FRANCE))).status == "miss"
    assert mark(await one.ask(call(FRANCE))).status == "hit"
    assert mark(await one.ask(call(ALIKE))).status == "miss"


async def test_an_equal_request_is_answered_before_an_encoder_is_missed(tmp_path: Path) -> None:
    async with worker(tmp_path) as one:
        one.encoder.down = True
        await one.ask(call())
        await one.service.write()
    async with worker(tmp_path, on_failure="closed") as other:
        other.encoder.down = True
        mark = (await other.ask(call())).note(CacheMark)
        assert mark is not None and mark.kind == "exact"
        with pytest.raises(Unavailable):
            await other.service.lookup(call("How do whales sleep?"))


async def test_the_store_holds_no_more_than_it_may(tmp_path: Path) -> None:
    async with worker(tmp_path, meaning=False, max_entries_per_tenant=3) as one:
        for number in range(6):
            await one.ask(call(f"Question {number}"))
        await one.ask(call("Other", tenant="other"))
        await one.sync()
        assert (await one.service.stats("acme")).entries == 3
        assert (await one.service.stats("other")).entries == 1


async def test_when_too_many_wait_to_be_written_more_are_not_kept(tmp_path: Path) -> None:
    async with worker(tmp_path, meaning=False, queue_size=2) as one:
        for number in range(4):
            await one.ask(call(f"Question {number}"))
        await one.sync()
        assert (await one.service.stats("acme")).entries == 2


async def test_a_hundred_thousand_tokens(one: Worker) -> None:
    long = "word " * 100_000
    assert mark(await one.ask(call(long))).status == "miss"
    assert mark(await one.ask(call(long))).status == "hit"
    assert mark(await one.ask(call(long + "more"))).status == "miss"


async def test_unicode(one: Worker) -> None:
    for text in (
        "Qu'est-ce que l'été ?",
        "東京とは何ですか",
        "מה זה שלום",
        "👩‍👩‍👧 ok?",
        "\u0000 \u200b",
        "İstanbul",
    ):
        assert mark(await one.ask(call(text), success(text))).status in ("miss", "hit")
        assert said(await one.service.lookup(call(text))) == text


async def test_the_stages(one: Worker) -> None:
    asked = await CacheLookup(one.service).enter(call(FRANCE))
    assert await CacheAnswer().enter(asked) is asked
    await CacheKeep(one.service).leave(asked, success())
    found = await CacheAnswer().enter(await CacheLookup(one.service).enter(call(FRANCE)))
    assert isinstance(found, Reply)


async def test_a_refused_call_is_not_counted_and_frees_those_who_wait(one: Worker) -> None:
    leader = await one.service.lookup(call(FRANCE))
    waiting = asyncio.create_task(one.service.lookup(call(FRANCE)))
    await asyncio.sleep(0)
    await one.service.keep(leader, Outcome(status="refused"))
    assert mark(await waiting).status == "miss"
    await one.service.keep(await waiting, success())
    hit = await one.service.lookup(call(FRANCE))
    await one.service.keep(hit, Outcome(status="refused"))
    stats = await one.service.stats("acme")
    assert (stats.misses, stats.hits_exact, stats.saved_nano) == (1, 0, 0)


async def test_counts_are_added_up_over_workers(tmp_path: Path) -> None:
    async with worker(tmp_path) as one, worker(tmp_path) as other:
        await one.ask(call(FRANCE))
        await one.service.write()
        for _ in range(3):
            await other.ask(call(FRANCE))
        await one.ask(call(ALIKE))
        await other.service.stats("acme")
        stats = await one.service.stats("acme")
        assert (stats.misses, stats.hits_exact, stats.hits_semantic, stats.saved_nano) == (1, 3, 1, 2000)
        assert stats.hit_rate == 0.8


async def test_raw_values_of_tenants_are_apart(one: Worker) -> None:
    assert one.service.raw.put("acme", "k", b"\x00raw", ttl_s=5)
    assert not one.service.raw.put("acme", "k", b"x" * 300_000)
    await one.service.write()
    one.service._shelf.forget_all()
    assert await one.service.raw.get("acme", "k") == b"\x00raw"
    assert await one.service.raw.get("other", "k") is None
