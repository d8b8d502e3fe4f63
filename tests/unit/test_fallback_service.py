from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from sentinella_plugins.fallback.chains import Chains
from sentinella_plugins.fallback.config import FallbackConfig
from sentinella_plugins.fallback.models import Failure, Preferences, Step
from sentinella_plugins.fallback.routes import router
from sentinella_plugins.fallback.service import FallbackService
from sentinella_plugins.kernel.access import Guard
from sentinella_plugins.kernel.call import Call, Json, Principal, Usage
from sentinella_plugins.kernel.catalogue import ModelCard
from sentinella_plugins.kernel.clock import Clock, ManualClock, SystemClock
from sentinella_plugins.kernel.errors import ModelNotFound
from sentinella_plugins.kernel.events import BreakerClosed, BreakerOpened, Event, Events, FellBack
from sentinella_plugins.kernel.money import Nano
from sentinella_plugins.storage.database import Database

CARDS = (
    ModelCard(name="gpt", provider="openai", upstream="g"),
    ModelCard(name="claude", provider="anthropic", upstream="c"),
    ModelCard(name="gemini", provider="google", upstream="e", capabilities=("tools",)),
)
SILENT = Failure("upstream_silent", 504)


class Shelf:
    def cards(self) -> Sequence[ModelCard]:
        return CARDS

    def find(self, name: str) -> ModelCard | None:
        return next((card for card in CARDS if card.name == name), None)

    async def count_prompt(self, model: str, body: Json) -> int:
        return 0

    def cost(self, model: str, usage: Usage) -> Nano:
        return Nano(0)


class Worker:
    """One worker's service, and everything it told."""

    def __init__(self, database: Database, clock: Clock, **settings: object) -> None:
        self.told: list[Event] = []
        self.events = Events()
        for kind in (BreakerOpened, BreakerClosed, FellBack):
            self.events.subscribe(kind, self._hear)
        config = FallbackConfig.model_validate(settings)
        self.service = FallbackService(database, Shelf(), self.events, clock, config)

    async def _hear(self, event: Event) -> None:
        self.told.append(event)

    def fail(self, model: str = "gpt", times: int = 2, code: str = "upstream_error") -> None:
        for _ in range(times):
            self.service.record(model, ok=False, ms=0, code=code)

    def states(self) -> list[str]:
        return [health.state for health in self.service.health()]


@asynccontextmanager
async def database(folder: Path, clock: Clock) -> AsyncIterator[Database]:
    opened = Database(f"sqlite:///{folder}/sentinella.db", clock=clock)
    await opened.open()
    yield opened
    await opened.close()


def call(model: str = "gpt", **body: object) -> Call:
    principal = Principal(tenant="acme", key_id="k")
    return Call(id="req_1", route="/", model=model, body=body, received_at=0, started=0, principal=principal)


def anything(_: str) -> bool:
    return True


pytestmark = pytest.mark.asyncio


async def test_a_call_falls_back_and_it_is_told(tmp_path: Path) -> None:
    clock = ManualClock()
    async with database(tmp_path, clock) as opened:
        worker = Worker(opened, clock)
        trip = worker.service.begin(call(), anything)
        assert trip.first() == Step("gpt")
        assert trip.after(SILENT, clock.monotonic()) == Step("claude", 0.0, "upstream_silent")
        await worker.service.round()
    assert worker.told == [
        FellBack(
            at=clock.now(),
            tenant="acme",
            request_id="req_1",
            from_model="gpt",
            to_model="claude",
            code="upstream_silent",
        )
    ]


async def test_needs_wishes_and_rights_bind_the_plan(tmp_path: Path) -> None:
    clock = ManualClock()
    async with database(tmp_path, clock) as opened:
        service = Worker(opened, clock).service
        assert service.plan(call(), anything) == ("gpt", "claude", "gemini")
        assert service.plan(call(tools=[{}]), anything) == ("gpt", "gemini")
        assert service.plan(call(), {"gpt", "claude"}.__contains__) == ("gpt", "claude")
        assert service.plan(call(), anything, Preferences(exclude=("claude",))) == ("gpt", "gemini")
        with pytest.raises(ModelNotFound):
            service.begin(call("nothing"), anything)


async def test_chains_of_the_settings_and_of_the_proxy(tmp_path: Path) -> None:
    clock = ManualClock()
    async with database(tmp_path, clock) as opened:
        own = Worker(opened, clock, chains={"gpt": ["gemini"]}, automatic=False).service
        assert own.plan(call(), anything) == ("gpt", "gemini")
        read = Chains.read({}, fallbacks=[{"fast": ["claude"]}], model_group_alias={"fast": "gemini"})
        aliased = FallbackService(
            opened, Shelf(), Events(), clock, FallbackConfig(automatic=False), chains=read
        )
        trip = aliased.begin(call("fast"), anything, Preferences(stream_recovery="error"))
        assert trip.first() == Step("gemini")
        assert trip.after(SILENT, clock.monotonic(), sent_tokens=True) is None
        assert aliased.plan(call("fast"), anything) == ("gemini", "claude")


async def test_a_breaker_opens_is_told_and_closes_again(tmp_path: Path) -> None:
    clock = ManualClock()
    async with database(tmp_path, clock) as opened:
        worker = Worker(opened, clock)
        began = clock.now()
        worker.fail(code="upstream_rate_limited")
        assert worker.service.begin(call(), anything).first() == Step("claude", 0.0, "breaker_open")
        health = worker.service.health()[0]
        assert (health.state, health.reason, health.calls, health.error_rate) == (
            "open", "consecutive_failures", 2, 1.0
        )  # fmt: skip
        assert (health.since, health.until, health.last_error) == (began, began + 5, "upstream_rate_limited")
        clock.advance(5)
        assert worker.states() == ["half_open", "closed", "closed"]
        assert worker.service.begin(call(), anything).first() == Step("gpt")
        assert worker.service.begin(call(), anything).first().model == "claude"
        worker.service.record("gpt", ok=True, ms=0)
        assert worker.states()[0] == "closed"
        await worker.service.close()
    kinds = [type(event) for event in worker.told]
    assert kinds == [BreakerOpened, FellBack, FellBack, BreakerClosed]


async def test_what_says_nothing_about_a_model_changes_nothing(tmp_path: Path) -> None:
    clock = ManualClock()
    async with database(tmp_path, clock) as opened:
        worker = Worker(opened, clock)
        worker.fail(times=50, code="content_filter")
        worker.fail(times=50, code="request_refused")
        worker.fail("unheard-of", times=50)
        assert worker.states() == ["closed"] * 3
        worker.fail()
        clock.advance(5)
        assert worker.service.begin(call(), anything).first().model == "gpt"
        worker.service.record("gpt", ok=False, ms=0, code="cancelled")
        assert worker.service.begin(call(), anything).first().model == "gpt"


async def test_slow_calls_count_by_their_first_byte(tmp_path: Path) -> None:
    clock = ManualClock()
    async with database(tmp_path, clock) as opened:
        worker = Worker(opened, clock)
        clock.advance(100)
        for _ in range(20):
            worker.service.record("gpt", ok=True, ms=200, started=clock.monotonic() - 90)
            worker.service.record("claude", ok=True, ms=31_000)
        assert worker.states() == ["closed", "open", "closed"]
        assert worker.service.health()[1].reason == "slow_calls"


async def test_workers_learn_from_each_other(tmp_path: Path) -> None:
    clock = ManualClock()
    async with database(tmp_path, clock) as opened:
        one, two = Worker(opened, clock), Worker(opened, clock)
        one.fail()
        await one.service.round()
        await two.service.round()
        assert two.states() == ["open", "closed", "closed"]
        assert two.service.health()[0].reason == "consecutive_failures"
        clock.advance(5)
        assert two.service.begin(call(), anything).first().model == "gpt"
        two.service.record("gpt", ok=True, ms=0)
        await two.service.round()
        await one.service.round()
        assert one.states()[0] == "closed"
        newcomer = Worker(opened, clock)
        one.fail("claude")
        await one.service.round()
        await newcomer.service.round()
        assert newcomer.states() == ["closed", "open", "closed"]
    assert [type(event) for event in one.told] == [BreakerOpened, BreakerOpened]


async def test_without_a_database_it_goes_by_what_it_sees(tmp_path: Path) -> None:
    clock = ManualClock()
    away = Database(f"sqlite:///{tmp_path}/away.db", clock=clock)
    worker = Worker(away, clock)
    worker.fail()
    await worker.service.round()
    await worker.service.round()
    assert worker.states()[0] == "open"
    assert len(worker.told) == 1
    async with database(tmp_path, clock) as opened:
        witness = Worker(opened, clock)
        await witness.service.round()
        assert witness.states()[0] == "closed"
    with suppress(Exception):
        away.close_blocking()


async def test_what_could_not_be_told_is_told_later(tmp_path: Path) -> None:
    clock = ManualClock()
    late = Database(f"sqlite:///{tmp_path}/sentinella.db", clock=clock)
    worker = Worker(late, clock)
    worker.fail()
    await worker.service.round()
    await late.open()
    await worker.service.round()
    other = Worker(late, clock)
    await other.service.round()
    assert other.states()[0] == "open"
    await late.close()


async def test_the_loop_shares_and_tells_by_itself(tmp_path: Path) -> None:
    clock = SystemClock()
    async with database(tmp_path, clock) as opened:
        one, two = (Worker(opened, clock, share_every_s=0.02) for _ in range(2))
        loops = [asyncio.create_task(worker.service.run()) for worker in (one, two)]
        one.fail()
        async with asyncio.timeout(10):
            while two.states()[0] != "open" or not one.told:
                await asyncio.sleep(0.01)
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
    assert isinstance(one.told[0], BreakerOpened)


async def test_health_over_http(tmp_path: Path) -> None:
    clock = ManualClock()

    async def member() -> Principal:
        return Principal(tenant="acme", key_id="k")

    async with database(tmp_path, clock) as opened:
        worker = Worker(opened, clock)
        worker.fail()
        app = FastAPI()
        app.include_router(router(worker.service, Guard(member=member, admin=member, metrics=member)))
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            answer = (await client.get("/v1/router/health")).json()
    assert (answer["object"], answer["has_more"], len(answer["data"])) == ("list", False, 3)
    assert answer["data"][0] == {
        "object": "router.health",
        "model": "gpt",
        "provider": "openai",
        "state": "open",
        "reason": "consecutive_failures",
        "since": int(clock.now()),
        "until": int(clock.now()) + 5,
        "error_rate": 1.0,
        "calls": 2,
        "last_error": "upstream_error",
        "last_error_at": int(clock.now()),
    }
    assert answer["data"][1]["state"] == "closed" and answer["data"][1]["last_error"] is None
