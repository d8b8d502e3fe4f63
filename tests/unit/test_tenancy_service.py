from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from sentinella_plugins.kernel.call import (
    Answered,
    Call,
    Estimate,
    Json,
    Outcome,
    Principal,
    Reply,
    Status,
    Usage,
)
from sentinella_plugins.kernel.catalogue import ModelCard
from sentinella_plugins.kernel.clock import ManualClock
from sentinella_plugins.kernel.errors import (
    LimitExceeded,
    ModelForbidden,
    ModelNotFound,
    Unauthenticated,
    Unavailable,
)
from sentinella_plugins.kernel.events import CallAbandoned, Event, Events, LimitReached, PartFailed
from sentinella_plugins.kernel.limits import Limits
from sentinella_plugins.kernel.money import Nano, nano
from sentinella_plugins.kernel.standing import Standing
from sentinella_plugins.storage.counters_memory import MemoryCounters
from sentinella_plugins.storage.counters_sql import SqlCounters
from sentinella_plugins.storage.database import Database
from sentinella_plugins.storage.protocols import Claim, Counters, Reservation, Verdict
from sentinella_plugins.tenancy.config import TenancyConfig
from sentinella_plugins.tenancy.limits import claims
from sentinella_plugins.tenancy.models import Held, NewTenant, Preferences, TenantPatch
from sentinella_plugins.tenancy.service import TenancyService
from sentinella_plugins.tenancy.stage import TenancyStage

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp()
EVERY_LIMIT = Limits(**dict.fromkeys(Limits.model_fields, 1))
NOTHING = Estimate(prompt_tokens=0, completion_tokens=0, cost=Nano(0))
CARDS = (
    ModelCard(
        name="small", provider="openai", upstream="s", max_output_tokens=4_096, output_usd_per_million=1.0
    ),
    ModelCard(
        name="large", provider="anthropic", upstream="l", max_output_tokens=8_192, output_usd_per_million=9.0
    ),
)


@dataclass
class Shelf:
    """Two models: a token of the small one costs a micro-dollar, of the large one ten. Prompts: 10 tokens."""

    counted: list[str] = field(default_factory=list)

    def cards(self) -> Sequence[ModelCard]:
        return CARDS

    def find(self, name: str) -> ModelCard | None:
        return next((card for card in CARDS if card.name == name), None)

    async def count_prompt(self, model: str, body: Json) -> int:
        self.counted.append(model)
        return 10

    def cost(self, model: str, usage: Usage) -> Nano:
        return Nano(usage.total * (10_000 if model == "large" else 1_000))


class Watched(MemoryCounters):
    """Counters that count what is asked of them, and can be taken away."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock)
        self.asked = 0
        self.down = False

    async def reserve(self, reservation: Reservation) -> Verdict:
        self._check()
        return await super().reserve(reservation)

    async def count(self, claims: Sequence[Claim]) -> Verdict:
        self._check()
        return await super().count(claims)

    async def settle(self, reservation_id: str, actual: Mapping[str, int]) -> bool:
        self._check()
        return await super().settle(reservation_id, actual)

    async def beat(self, owner: str, until: float) -> None:
        self._check()
        await super().beat(owner, until)

    def _check(self) -> None:
        self.asked += 1
        if self.down:
            raise Unavailable


@dataclass(frozen=True)
class Office:
    database: Database
    counters: Watched
    catalogue: Shelf
    clock: ManualClock
    tenancy: TenancyService
    published: list[Event]

    async def tenant(self, **fields: object) -> None:
        await self.tenancy.create(NewTenant.model_validate({"id": "acme", **fields}))

    async def fill(self, *, calls: int = 1, **body: int) -> list[Call]:
        return [await self.tenancy.reserve(call(None, "small", **body)) for _ in range(calls)]

    async def refused(self, asking: Call | None = None) -> LimitExceeded:
        with pytest.raises(LimitExceeded) as caught:
            await self.tenancy.reserve(asking or call(max_tokens=10))
        return caught.value

    async def used(self) -> dict[str, int]:
        """What the buckets of this moment hold."""
        specs = {claim.key: spec for spec, claim in claims("t:acme", EVERY_LIMIT, NOTHING, self.clock.now())}
        return {
            specs[key].name: value for key, value in (await self.counters.read(list(specs))).items() if value
        }


def member(**fields: object) -> Principal:
    return Principal(**{"tenant": "acme", "key_id": "key_1", "key_name": "ci", **fields})  # type: ignore[arg-type]


def call(principal: Principal | None = None, model: str = "small", **body: object) -> Call:
    return Call(
        id="req_1",
        route="/v1/chat/completions",
        model=model,
        body=body,
        principal=principal or member(),
        received_at=NOON,
        started=0,
    )


def outcome(status: Status = "success", *, tokens: int = 0, cost: int = 0, cached: bool = False) -> Outcome:
    usage = Usage(prompt=min(tokens, 10), completion=max(0, tokens - 10))
    return Outcome(status=status, model="small", usage=usage, cost=Nano(cost), cached=cached)


@asynccontextmanager
async def office(folder: Path, config: TenancyConfig | None = None) -> AsyncIterator[Office]:
    clock, events = ManualClock(NOON), Events()
    published: list[Event] = []

    async def note(event: Event) -> None:
        published.append(event)

    for kind in (LimitReached, PartFailed, CallAbandoned):
        events.subscribe(kind, note)
    database = Database(f"sqlite:///{folder / 'tenancy.db'}", clock=clock)
    await database.open()
    counters, catalogue = Watched(clock), Shelf()
    tenancy = TenancyService(database, counters, catalogue, events, clock, config or TenancyConfig())
    await tenancy.open()
    try:
        yield Office(database, counters, catalogue, clock, tenancy, published)
    finally:
        await database.close()


@pytest.mark.asyncio
async def test_without_limits_nothing_is_counted_and_nobody_is_asked(tmp_path: Path) -> None:
    async with office(tmp_path) as at:
        await at.tenant()
        reserved = await at.tenancy.reserve(call())
        assert reserved.note(Held) is None
        assert reserved.note(Standing) == Standing()
        await at.tenancy.settle(reserved, outcome())
        assert (at.counters.asked, at.catalogue.counted) == (0, [])


@pytest.mark.asyncio
async def test_prompts_are_counted_only_where_tokens_or_money_are_limited(tmp_path: Path) -> None:
    async with office(tmp_path) as at:
        await at.tenant(limits={"requests_per_minute": 9, "max_concurrency": 9})
        [uncounted] = await at.fill()
        assert (at.catalogue.counted, uncounted.estimate) == ([], None)
        limited = member(limits=Limits(tokens_per_minute=1_000))
        reserved = await at.tenancy.reserve(call(limited, max_tokens=7))
        assert at.catalogue.counted == ["small"]
        assert reserved.estimate is not None and reserved.estimate.tokens == 17


@pytest.mark.asyncio
async def test_models(tmp_path: Path) -> None:
    async with office(tmp_path) as at:
        await at.tenant(models=["sm*", "unknown"])
        with pytest.raises(ModelForbidden, match="`large`"):
            await at.tenancy.reserve(call(model="large"))
        with pytest.raises(ModelForbidden, match="`small`"):
            await at.tenancy.reserve(call(member(models=("gpt-*",))))
        with pytest.raises(ModelNotFound, match="`unknown`"):
            await at.tenancy.reserve(call(model="unknown"))
        await at.tenancy.reserve(call(model="auto"))
        with pytest.raises(Unauthenticated):
            await at.tenancy.reserve(call(member(tenant="gone")))


@pytest.mark.asyncio
@pytest.mark.parametrize("scope", ["tenant", "key"])
@pytest.mark.parametrize(
    ("limits", "code", "resets", "limit", "told"),
    [
        ({"requests_per_minute": 2}, "rate_limit_minute", "2026-11-22 12:01", "2", "2 requests per minute"),
        ({"requests_per_hour": 2}, "rate_limit_hour", "2026-11-22 13:00", "2", "2 requests per hour"),
        ({"requests_per_day": 2}, "rate_limit_day", "2026-11-23 00:00", "2", "2 requests per day"),
        ({"tokens_per_minute": 45}, "rate_limit_minute", "2026-11-22 12:01", "45", "`tokens_per_minute`"),
        (
            {"cost_per_day_usd": "0.000045"},
            "cost_limit_day",
            "2026-11-23 00:00",
            "0.000045",
            "$0.000045 per day",
        ),
        (
            {"cost_per_month_usd": "0.00004"},
            "cost_limit_month",
            "2026-12-01 00:00",
            "0.00004",
            "$0.00004 per month",
        ),
    ],
)
async def test_every_limit(
    tmp_path: Path, scope: str, limits: dict[str, object], code: str, resets: str, limit: str, told: str
) -> None:
    async with office(tmp_path) as at:
        await at.tenant(limits=limits if scope == "tenant" else {})
        asking = call(member(limits=Limits.model_validate(limits if scope == "key" else {})), max_tokens=10)
        at.clock.advance(0.25)
        for _ in range(2):
            await at.tenancy.reserve(asking)
        error = await at.refused(asking)
        resets_at = datetime.fromisoformat(resets).replace(tzinfo=UTC).timestamp()
        assert (error.code, error.scope, error.limit, error.resets_at) == (code, scope, limit, resets_at)
        assert error.retry_after == resets_at - NOON
        assert told in error.message
        assert resets in error.message
        assert error.message.startswith("Tenant `acme`" if scope == "tenant" else "Key `ci`")
        assert error.headers()["retry-after"] == str(error.retry_after)
        at.clock.advance(resets_at - at.clock.now() - 0.01)
        assert (await at.refused(asking)).retry_after == 1
        at.clock.advance(0.01)
        await at.tenancy.reserve(asking)


@pytest.mark.asyncio
async def test_concurrency(tmp_path: Path) -> None:
    async with office(tmp_path) as at:
        await at.tenant(limits={"max_concurrency": 2})
        [first, _] = await at.fill(calls=2)
        error = await at.refused()
        assert (error.code, error.retry_after, error.used) == ("concurrency_limit", 1, "2")
        await at.tenancy.settle(first, outcome(tokens=20))
        await at.fill()
        await at.refused()


@pytest.mark.asyncio
async def test_of_several_limits_the_one_that_resets_last_is_told(tmp_path: Path) -> None:
    async with office(tmp_path) as at:
        await at.tenant(limits={"requests_per_minute": 1, "requests_per_day": 1, "max_concurrency": 1})
        await at.fill()
        error = await at.refused()
        assert error.code == "rate_limit_day"
        assert error.standing.headers()["x-ratelimit-reset-requests"] == "43200s"


@pytest.mark.asyncio
async def test_the_tenants_limit_is_shared_by_its_keys_and_by_nobody_else(tmp_path: Path) -> None:
    async with office(tmp_path) as at:
        limits = {"requests_per_minute": 2}
        await at.tenant(limits=limits)
        await at.tenant(id="bolt", limits=limits)
        for key_id in ("key_1", "key_2"):
            await at.tenancy.reserve(call(member(key_id=key_id)))
        await at.refused(call(member(key_id="key_3")))
        await at.tenancy.reserve(call(member(tenant="bolt")))


@pytest.mark.asyncio
async def test_a_refusal_of_the_key_takes_nothing_from_the_tenant(tmp_path: Path) -> None:
    async with office(tmp_path, TenancyConfig(refusal_memo_s=0)) as at:
        await at.tenant(limits={"requests_per_minute": 3})
        narrow = call(member(limits=Limits(requests_per_minute=1)))
        await at.tenancy.reserve(narrow)
        for _ in range(5):
            assert (await at.refused(narrow)).scope == "key"
        assert await at.used() == {"requests_per_minute": 1}


@pytest.mark.asyncio
async def test_standing_counts_what_is_reserved(tmp_path: Path) -> None:
    async with office(tmp_path) as at:
        await at.tenant(limits={"requests_per_minute": 5, "requests_per_hour": 9, "cost_per_day_usd": "1.00"})
        [reserved] = await at.fill(max_tokens=990)
        standing = reserved.note(Standing)
        assert standing is not None
        assert (standing.limit, standing.remaining, standing.reset_s) == (5, 4, 60)
        left = {"requests_per_minute": 4, "requests_per_hour": 8, "cost_per_day_usd": "0.999"}
        assert standing.budget_left == left


@pytest.mark.asyncio
async def test_what_is_kept_counts_as_a_request_and_holds_nothing(tmp_path: Path) -> None:
    async with office(tmp_path) as at:
        limits = {
            "requests_per_day": 2,
            "tokens_per_minute": 1,
            "cost_per_day_usd": "0",
            "max_concurrency": 1,
        }
        await at.tenant(limits=limits)
        answered = call().with_note(Answered(Reply({}, "cache")))
        for left in (1, 0):
            counted = await at.tenancy.reserve(answered)
            standing = counted.note(Standing)
            assert standing is not None and standing.budget_left == {"requests_per_day": left}
            asked = at.counters.asked
            await at.tenancy.settle(counted, outcome(cached=True))
            assert at.counters.asked == asked
        assert await at.used() == {"requests_per_day": 2}
        assert (await at.refused(answered)).code == "rate_limit_day"


@pytest.mark.asyncio
async def test_what_is_kept_needs_no_store_when_requests_are_not_limited(tmp_path: Path) -> None:
    async with office(tmp_path) as at:
        await at.tenant(limits={"cost_per_day_usd": "1"})
        await at.tenancy.reserve(call().with_note(Answered(Reply({}, "cache"))))
        assert at.counters.asked == 0


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("ended", "kept"),
    [
        (
            outcome(tokens=12, cost=300),
            {"requests_per_day": 1, "tokens_per_minute": 12, "cost_per_day_usd": 300},
        ),
        (outcome(tokens=12, cached=True), {"requests_per_day": 1}),
        (
            outcome("cancelled", tokens=11, cost=200),
            {"requests_per_day": 1, "tokens_per_minute": 11, "cost_per_day_usd": 200},
        ),
        (outcome("error", cost=200), {"requests_per_day": 1, "cost_per_day_usd": 200}),
        (outcome("cancelled"), {}),
        (outcome("error"), {}),
        (outcome("refused"), {}),
    ],
)
async def test_settling(tmp_path: Path, ended: Outcome, kept: dict[str, int]) -> None:
    async with office(tmp_path) as at:
        limits = {
            "requests_per_day": 9,
            "tokens_per_minute": 999,
            "cost_per_day_usd": "1",
            "max_concurrency": 9,
        }
        await at.tenant(limits=limits)
        [reserved] = await at.fill(max_tokens=100)
        assert set(await at.used()) == set(limits)
        for _ in range(2):
            await at.tenancy.settle(reserved, ended)
        assert await at.used() == kept


@pytest.mark.asyncio
async def test_a_thousand_at_once_and_fifty_pass(tmp_path: Path) -> None:
    async with office(tmp_path) as at:
        await at.tenant(limits={"requests_per_minute": 50})
        at.clock.advance(59.999)
        results = await asyncio.gather(
            *(at.tenancy.reserve(call()) for _ in range(1_000)), return_exceptions=True
        )
        assert Counter(type(result) for result in results) == {Call: 50, LimitExceeded: 950}


@pytest.mark.asyncio
async def test_a_thousand_at_once_over_two_workers_on_sqlite(tmp_path: Path) -> None:
    async with office(tmp_path) as at:
        await at.tenant(limits={"requests_per_minute": 50, "cost_per_day_usd": "0.0006"})
        workers = [sql_worker(at, SqlCounters(at.database, at.clock)) for _ in range(2)]
        asking = [workers[number % 2].reserve(call(max_tokens=10)) for number in range(1_000)]
        results = await asyncio.gather(*asking, return_exceptions=True)
        assert Counter(type(result) for result in results) == {Call: 30, LimitExceeded: 970}
        [held] = [result for result in results if isinstance(result, Call)][:1]
        await workers[0].settle(held, outcome("refused"))
        await workers[0].reserve(call(max_tokens=10))


def sql_worker(at: Office, counters: Counters) -> TenancyService:
    return TenancyService(at.database, counters, at.catalogue, Events(), at.clock, TenancyConfig())


steps = st.lists(
    st.tuples(
        st.integers(1, 4_000), st.sampled_from([None, "success", "error", "cancelled"]), st.floats(0, 1)
    ),
    max_size=40,
)


@given(steps)
@settings(max_examples=30, deadline=None)
def test_a_dollar_a_day_is_never_overrun(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, Status | None, float]]
) -> None:
    async def spend() -> None:
        async with office(tmp_path_factory.mktemp("day"), TenancyConfig(refusal_memo_s=0)) as at:
            await at.tenant(limits={"cost_per_day_usd": "1.00"})
            for tokens, status, share in steps:
                asking = call(model="large", max_tokens=tokens * 10)
                try:
                    reserved = await at.tenancy.reserve(asking)
                except LimitExceeded as error:
                    assert error.code == "cost_limit_day"
                else:
                    assert reserved.estimate is not None
                    if status is not None:
                        ended = outcome(status, cost=int(reserved.estimate.cost * share))
                        await at.tenancy.settle(reserved, ended)
                assert sum((await at.used()).values()) <= nano(1)

    asyncio.run(spend())


@pytest.mark.asyncio
async def test_the_length_of_answers_is_learned(tmp_path: Path) -> None:
    async with office(tmp_path, TenancyConfig(default_completion_tokens=600)) as at:
        await at.tenant(limits={"tokens_per_minute": 10**6})

        async def reserved_tokens(**body: int) -> int:
            reserved = await at.tenancy.reserve(call(None, "small", **body))
            assert reserved.estimate is not None
            return reserved.estimate.completion_tokens

        assert await reserved_tokens() == 600
        for _ in range(400):
            [reserved] = await at.fill()
            await at.tenancy.settle(reserved, outcome(tokens=110))
        assert 95 <= await reserved_tokens() <= 125
        assert 190 <= await reserved_tokens(n=2) <= 250
        assert await reserved_tokens(max_completion_tokens=7) == 7


@pytest.mark.asyncio
async def test_while_the_router_has_not_chosen_the_dearest_allowed_model_is_reckoned_with(
    tmp_path: Path,
) -> None:
    async with office(tmp_path) as at:
        await at.tenant(limits={"cost_per_day_usd": "1"})
        await at.tenancy.reserve(call(model="auto"))
        await at.tenancy.reserve(call(member(models=("small",)), model="auto"))
        await at.tenancy.change("acme", TenantPatch(preferences=Preferences(exclude=("anthropic",))))
        await at.tenancy.reserve(call(model="auto"))
        assert at.catalogue.counted == ["large", "small", "small"]


@pytest.mark.asyncio
async def test_a_flood_of_refused_calls_does_not_reach_the_store(tmp_path: Path) -> None:
    async with office(tmp_path, TenancyConfig(refusal_memo_s=0.05)) as at:
        await at.tenant(limits={"requests_per_minute": 1})
        await at.fill()
        for _ in range(100):
            await at.refused()
        assert at.counters.asked == 2
        at.clock.advance(0.05)
        await at.refused()
        assert at.counters.asked == 3
        assert [event.code for event in at.published if isinstance(event, LimitReached)] == [
            "rate_limit_minute"
        ]
        at.clock.advance(1)
        await at.refused()
        assert len(at.published) == 2


@pytest.mark.asyncio
async def test_a_memo_refuses_as_much_or_more_and_lets_less_through(tmp_path: Path) -> None:
    async with office(tmp_path) as at:
        await at.tenant(limits={"tokens_per_minute": 100})
        await at.fill(max_tokens=40)
        for tokens, asked in ((60, 2), (60, 2), (70, 2), (50, 3), (41, 4)):
            await at.refused(call(max_tokens=tokens))
            assert at.counters.asked == asked
        await at.fill(max_tokens=40)


@pytest.mark.asyncio
async def test_what_is_given_back_can_be_had_at_once(tmp_path: Path) -> None:
    async with office(tmp_path, TenancyConfig(refusal_memo_s=1)) as at:
        await at.tenant(limits={"max_concurrency": 1})
        for ended in (outcome(tokens=20), outcome("error"), outcome("cancelled", tokens=3)):
            [reserved] = await at.fill()
            await at.refused()
            await at.tenancy.settle(reserved, ended)
        await at.fill()


@pytest.mark.asyncio
async def test_a_higher_limit_holds_at_once(tmp_path: Path) -> None:
    async with office(tmp_path, TenancyConfig(refusal_memo_s=1)) as at:
        await at.tenant(limits={"requests_per_minute": 1})
        await at.fill()
        await at.refused()
        await at.tenancy.change("acme", TenantPatch(limits=Limits(requests_per_minute=2)))
        await at.fill()
        await at.refused()


@pytest.mark.asyncio
async def test_when_the_counters_are_down(tmp_path: Path) -> None:
    async with office(tmp_path, TenancyConfig(on_failure="open")) as at:
        await at.tenant(limits={"requests_per_minute": 1}, models=["small"])
        at.counters.down = True
        strict = TenancyService(at.database, at.counters, at.catalogue, Events(), at.clock, TenancyConfig())
        with pytest.raises(Unavailable):
            await strict.reserve(call())
        for _ in range(3):
            assert (await at.tenancy.reserve(call())).note(Held) is None
        assert [type(event) for event in at.published] == [PartFailed]
        at.clock.advance(1)
        await at.database.close()
        await at.tenancy.reserve(call())
        assert len(at.published) == 2
        with pytest.raises(ModelForbidden):
            await at.tenancy.reserve(call(model="large"))
        with pytest.raises(ModelForbidden):
            await at.tenancy.reserve(call(member(tenant="new", models=("x",))))


@pytest.mark.asyncio
async def test_what_could_not_be_settled_is_settled_when_the_store_is_back(tmp_path: Path) -> None:
    async with office(tmp_path) as at:
        await at.tenant(limits={"max_concurrency": 1, "cost_per_day_usd": "1"})
        [reserved] = await at.fill(max_tokens=10)
        at.counters.down = True
        await at.tenancy.settle(reserved, outcome(tokens=15, cost=500))
        assert "max_concurrency" in await at.used()
        at.counters.down = False
        await heartbeat(at.tenancy)
        assert await at.used() == {"cost_per_day_usd": 500}


async def heartbeat(tenancy: TenancyService) -> None:
    beating = asyncio.create_task(tenancy.run())
    await asyncio.sleep(0.05)
    beating.cancel()
    with pytest.raises(asyncio.CancelledError):
        await beating


@pytest.mark.asyncio
async def test_what_a_dead_worker_held_is_released_and_told(tmp_path: Path) -> None:
    async with office(tmp_path, TenancyConfig(refusal_memo_s=1)) as at:
        await at.tenant(limits={"max_concurrency": 3, "requests_per_day": 9})
        dead = TenancyService(at.database, at.counters, at.catalogue, Events(), at.clock, TenancyConfig())
        await heartbeat(dead)
        for _ in range(2):
            await dead.reserve(call())
        await heartbeat(at.tenancy)
        [alive] = await at.fill()
        await at.refused()
        at.clock.advance(29)
        await heartbeat(at.tenancy)
        assert (await at.used())["max_concurrency"] == 3
        at.clock.advance(1)
        await heartbeat(at.tenancy)
        assert (await at.used())["max_concurrency"] == 1
        told = [event for event in at.published if isinstance(event, CallAbandoned)]
        assert len(told) == 2
        assert (told[0].request_id, told[0].tenant, told[0].key_id) == ("req_1", "acme", "key_1")
        assert (told[0].route, told[0].model, told[0].started_at) == ("/v1/chat/completions", "small", NOON)
        await at.fill(calls=2)
        await at.tenancy.settle(alive, outcome(tokens=20))


@pytest.mark.asyncio
async def test_after_an_outage_the_living_have_time_to_say_so(tmp_path: Path) -> None:
    async with office(tmp_path) as at:
        await at.tenant(limits={"max_concurrency": 3})
        other = TenancyService(at.database, at.counters, at.catalogue, Events(), at.clock, TenancyConfig())
        await heartbeat(other)
        held = await other.reserve(call())
        at.counters.down = True
        at.clock.advance(31)
        await heartbeat(at.tenancy)
        at.counters.down = False
        await heartbeat(at.tenancy)
        assert await at.used() == {"max_concurrency": 1}
        await heartbeat(other)
        at.clock.advance(29)
        await heartbeat(at.tenancy)
        await other.settle(held, outcome(tokens=20))
        assert await at.used() == {}
        assert at.published == []


def test_a_lease_outlives_a_missed_heartbeat() -> None:
    with pytest.raises(ValidationError, match="at least twice"):
        TenancyConfig(heartbeat_s=10, lease_s=19)


@pytest.mark.asyncio
async def test_the_heart_goes_on_when_the_store_is_down(tmp_path: Path) -> None:
    async with office(tmp_path, TenancyConfig(heartbeat_s=0.01)) as at:
        at.counters.down = True
        beating = asyncio.create_task(at.tenancy.run())
        await asyncio.sleep(0.1)
        assert at.counters.asked > 2
        assert not beating.done()
        beating.cancel()


@pytest.mark.asyncio
async def test_the_stage_reserves_on_the_way_in_and_settles_on_the_way_out(tmp_path: Path) -> None:
    async with office(tmp_path) as at:
        await at.tenant(limits={"requests_per_minute": 1, "max_concurrency": 1})
        stage = TenancyStage(at.tenancy)
        for _ in range(3):
            entered = await stage.enter(call())
            await stage.leave(entered, outcome("refused"))
        await stage.leave(await stage.enter(call()), outcome(tokens=20))
        assert await at.used() == {"requests_per_minute": 1}
        await stage.leave(call(), outcome("refused"))
