from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import func, select

from sentinella_plugins.kernel.call import Call, Json, Outcome, Principal, Reply
from sentinella_plugins.kernel.clock import Clock, ManualClock, SystemClock
from sentinella_plugins.kernel.errors import BadRequest, Unavailable, UpstreamFailed
from sentinella_plugins.kernel.events import Events, PartFailed
from sentinella_plugins.replay.config import ReplayConfig
from sentinella_plugins.replay.models import Busy, Claim, Fresh, InProgress, KeyReused, Replayed
from sentinella_plugins.replay.service import ReplayService
from sentinella_plugins.replay.stage import ReplayStage
from sentinella_plugins.replay.store import ReplayStore
from sentinella_plugins.storage.database import Database
from sentinella_plugins.storage.tables import replays
from tests import servers

BODY: Json = {"id": "chatcmpl-1", "model": "gpt", "choices": [], "text": 'ünïcode\n"\x00'}
HI: Json = {"messages": [{"role": "user", "content": "hi"}]}
_numbers = itertools.count()


class Worker:
    """One worker's stage, and what it told."""

    def __init__(self, database: Database, clock: Clock, **settings: object) -> None:
        self.database = database
        self.told: list[PartFailed] = []
        events = Events()
        events.subscribe(PartFailed, self._hear)
        config = ReplayConfig.model_validate({"poll_s": 0.01, "coalesce": "off", **settings})
        self.service = ReplayService(database, events, clock, config)
        self.stage = ReplayStage(self.service)
        self.runs = 0

    async def serve(self, call: Call, takes_s: float = 0.0) -> Json:
        """The whole corridor, with a model that takes this long."""
        entered = await self.stage.enter(call)
        if isinstance(entered, Reply):
            assert entered.source == "idempotency"
            return entered.body
        self.runs += 1
        await asyncio.sleep(takes_s)
        body = {**BODY, "id": f"chatcmpl-{call.id}"}
        await self.stage.leave(entered, _success(body))
        return body

    async def _hear(self, event: PartFailed) -> None:
        self.told.append(event)


def _success(body: Json | None = BODY) -> Outcome:
    return Outcome(status="success", model="gpt", body=body)


def _call(key: str | None = "k", body: Json = HI, tenant: str = "acme", **changes: object) -> Call:
    plain = Call(
        id=f"req_{next(_numbers)}",
        route="/v1/chat/completions",
        requested="gpt",
        model="gpt",
        body=body,
        principal=Principal(tenant=tenant, key_id="key_1"),
        headers={} if key is None else {"idempotency-key": key},
        received_at=0.0,
        started=0.0,
    )
    return plain.evolve(**changes)


async def _entered(worker: Worker, call: Call) -> Call:
    entered = await worker.stage.enter(call)
    assert isinstance(entered, Call)
    return entered


async def _rows(database: Database) -> int:
    query = select(func.count()).select_from(replays)
    return await database.read(lambda connection: connection.scalar(query) or 0)


@pytest.fixture(scope="module")
def postgres() -> Iterator[servers.Postgres]:
    with servers.postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'db.sqlite'}"
    fresh: Callable[[], str] = request.getfixturevalue("postgres").new_database
    return fresh()


@asynccontextmanager
async def opened(url: str, clock: Clock, **settings: object) -> AsyncIterator[Worker]:
    database = Database(url, clock=clock)
    await database.open()
    try:
        yield Worker(database, clock, **settings)
    finally:
        await database.close()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest_asyncio.fixture
async def worker(url: str, clock: ManualClock) -> AsyncIterator[Worker]:
    async with opened(url, clock) as worker:
        yield worker


@pytest.mark.asyncio
async def test_without_a_key_nothing_is_kept(worker: Worker) -> None:
    for _ in range(2):
        await worker.serve(_call(None))
    assert worker.runs == 2
    assert await _rows(worker.database) == 0


@pytest.mark.asyncio
async def test_the_same_key_gets_the_same_answer(worker: Worker) -> None:
    first = await worker.serve(_call())
    assert await worker.serve(_call()) == first
    assert first["text"] == BODY["text"]
    assert worker.runs == 1


@pytest.mark.asyncio
async def test_another_key_or_tenant_runs(worker: Worker) -> None:
    for call in (_call(), _call("K"), _call(tenant="other")):
        await worker.serve(call)
    assert worker.runs == 3


@pytest.mark.asyncio
async def test_a_key_is_of_one_request(worker: Worker) -> None:
    running = await _entered(worker, _call())
    other = _call(body={"messages": [{"role": "user", "content": "ho"}]})
    for _ in ("running", "done"):
        with pytest.raises(KeyReused) as raised:
            await worker.serve(other)
        assert (raised.value.status, raised.value.code) == (422, "idempotency_key_reused")
        await worker.stage.leave(running, _success())
    assert worker.runs == 0


@pytest.mark.asyncio
@pytest.mark.parametrize("key", ["", "x" * 256])
async def test_malformed_keys_are_refused(worker: Worker, key: str) -> None:
    with pytest.raises(BadRequest, match="1 to 255") as raised:
        await worker.serve(_call(key))
    assert raised.value.param == "Idempotency-Key"


@pytest.mark.asyncio
async def test_a_key_ends_after_its_time(worker: Worker, clock: ManualClock) -> None:
    await worker.serve(_call())
    clock.advance(86_399)
    await worker.serve(_call())
    assert worker.runs == 1
    clock.advance(1)
    await worker.serve(_call(body={"messages": []}))
    assert worker.runs == 2


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "outcome",
    [
        Outcome(status="error", error=UpstreamFailed()),
        Outcome(status="cancelled"),
        Outcome(status="refused"),
        Outcome(status="error", body=BODY),
        _success(None),
        _success({"text": "x" * 1_000_001}),
        _success({"text": "\ud800"}),
    ],
    ids=["error", "cancelled", "refused", "half an answer", "no body", "too large", "no JSON"],
)
async def test_what_cannot_be_kept_sets_the_key_free(worker: Worker, outcome: Outcome) -> None:
    await worker.stage.leave(await _entered(worker, _call()), outcome)
    assert await _rows(worker.database) == 0
    await worker.serve(_call())
    assert worker.runs == 1


@pytest.mark.asyncio
async def test_an_assembled_stream_is_kept(worker: Worker) -> None:
    call = _call(body={**HI, "stream": True}, stream=True)
    await worker.stage.leave(await _entered(worker, call), _success())
    assert await worker.stage.enter(call.evolve(id="req_again")) == Reply(BODY, "idempotency")


@pytest.mark.asyncio
async def test_a_hundred_calls_run_once(url: str) -> None:
    async with opened(url, SystemClock()) as worker:
        answers = await asyncio.gather(*(worker.serve(_call(), 0.1) for _ in range(100)))
        assert worker.runs == 1
        assert all(answer == answers[0] for answer in answers)


@pytest.mark.asyncio
async def test_a_hundred_calls_in_two_workers_run_once(url: str) -> None:
    async with opened(url, SystemClock()) as one, opened(url, SystemClock()) as two:
        answers = await asyncio.gather(*((one, two)[i % 2].serve(_call(), 0.1) for i in range(100)))
        assert one.runs + two.runs == 1
        assert all(answer == answers[0] for answer in answers)


@pytest.mark.asyncio
async def test_many_keys_in_two_workers_run_once_each(url: str) -> None:
    async with opened(url, SystemClock()) as one, opened(url, SystemClock()) as two:
        calls = (worker.serve(_call(f"k{i % 20}"), 0.02) for i in range(100) for worker in (one, two))
        answers = await asyncio.gather(*calls)
        assert one.runs + two.runs == 20
        assert len({str(answer["id"]) for answer in answers}) == 20


@pytest.mark.asyncio
async def test_after_a_failure_one_of_those_who_wait_runs(url: str) -> None:
    async with opened(url, SystemClock()) as one, opened(url, SystemClock()) as two:
        running = await _entered(one, _call())
        waiting = [asyncio.create_task(worker.serve(_call())) for worker in (one, two) for _ in range(10)]
        await asyncio.sleep(0.1)
        assert one.runs + two.runs == 0
        await one.stage.leave(running, Outcome(status="error"))
        await asyncio.gather(*waiting)
        assert one.runs + two.runs == 1


@pytest.mark.asyncio
async def test_waiting_ends(url: str) -> None:
    async with opened(url, SystemClock(), wait_s=0.1) as one, opened(url, SystemClock(), wait_s=0.1) as two:
        await _entered(one, _call())
        for worker in (one, two):
            with pytest.raises(InProgress) as raised:
                await worker.serve(_call())
            assert (raised.value.status, raised.value.code) == (409, "idempotency_in_progress")
            assert raised.value.headers() == {"retry-after": "1"}


@pytest.mark.asyncio
async def test_a_call_that_is_cancelled_while_it_waits_leaves_the_key_alone(url: str) -> None:
    async with opened(url, SystemClock()) as worker:
        running = await _entered(worker, _call())
        waiting = asyncio.create_task(worker.serve(_call()))
        await asyncio.sleep(0.05)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await worker.stage.leave(running, _success())
        assert await worker.serve(_call()) == BODY


@pytest.mark.asyncio
@pytest.mark.parametrize("committed", [False, True])
async def test_a_call_that_is_cancelled_at_the_door_sets_the_key_free(url: str, committed: bool) -> None:
    async with opened(url, SystemClock(), wait_s=5) as worker:
        entering = asyncio.create_task(worker.stage.enter(_call()))
        await asyncio.sleep(0)
        if committed:
            time.sleep(0.2)  # noqa: ASYNC251 - the writer commits, but the loop does not know it yet
        entering.cancel()
        await asyncio.gather(entering, return_exceptions=True)
        assert entering.cancelled()
        await worker.serve(_call())
        assert worker.runs == 1


@pytest.mark.asyncio
async def test_the_key_of_a_dead_worker_is_free_after_its_lease(worker: Worker, clock: ManualClock) -> None:
    dead = Worker(worker.database, clock)
    lost = await _entered(dead, _call())
    clock.advance(29)
    claim = lost.note(Claim)
    assert claim is not None
    assert await ReplayStore(worker.database).peek(claim, clock.now()) == Busy()
    clock.advance(1)
    running = await _entered(worker, _call())
    for late in (Outcome(status="error"), _success()):
        await dead.stage.leave(lost, late)
        assert await ReplayStore(worker.database).peek(claim, clock.now()) == Busy()
    await worker.stage.leave(running, _success({"id": "mine"}))
    assert await dead.serve(_call()) == {"id": "mine"}


@pytest.mark.asyncio
async def test_a_heartbeat_keeps_a_long_call_alive(worker: Worker, clock: ManualClock) -> None:
    entered = await _entered(worker, _call())
    for _ in range(10):
        clock.advance(20)
        await worker.service.round()
    claim = entered.note(Claim)
    assert claim is not None
    assert await ReplayStore(worker.database).peek(claim, clock.now()) == Busy()
    await worker.stage.leave(entered, _success())
    clock.advance(80_000)
    await worker.service.round()
    assert await worker.serve(_call()) == BODY


@pytest.mark.asyncio
async def test_old_answers_are_deleted(url: str, clock: ManualClock) -> None:
    async with opened(url, clock, trim_batch=2) as worker:
        for number in range(5):
            await worker.serve(_call(f"k{number}"))
        clock.advance(86_400)
        await worker.serve(_call("new"))
        await worker.service.round()
        assert await _rows(worker.database) == 1
        await worker.service.round()


@pytest.mark.asyncio
async def test_the_heart_beats_until_it_is_cancelled(url: str) -> None:
    async with opened(url, SystemClock(), heartbeat_s=0.05, lease_s=0.15, wait_s=0.4) as worker:
        beating = asyncio.create_task(worker.service.run())
        running = await _entered(worker, _call())
        other = Worker(worker.database, SystemClock(), wait_s=0.4)
        with pytest.raises(InProgress):
            await other.serve(_call())
        await worker.stage.leave(running, _success())
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)


@pytest.mark.asyncio
async def test_without_the_store_calls_go_on(worker: Worker) -> None:
    entered = await _entered(worker, _call())
    await worker.database.close()
    await worker.stage.leave(entered, _success())
    assert [(event.part, event.tenant) for event in worker.told] == [("replay", "acme")]
    for _ in range(3):
        assert (await _entered(worker, _call())).note(Claim) is None
    assert len(worker.told) == 1, "told once a second"


@pytest.mark.asyncio
async def test_without_the_store_calls_are_refused_when_failures_close(url: str) -> None:
    async with opened(url, SystemClock(), on_failure="closed") as worker:
        await worker.database.close()
        with pytest.raises(Unavailable):
            await worker.serve(_call())
        await worker.stage.enter(_call(None))


@pytest.mark.asyncio
async def test_begin_and_finish(worker: Worker) -> None:
    call = _call()
    begun = await worker.service.begin(call)
    assert isinstance(begun, Fresh) and begun.claim is not None
    await worker.service.finish(call.with_note(begun.claim), _success())
    assert await worker.service.begin(_call()) == Replayed(BODY)
