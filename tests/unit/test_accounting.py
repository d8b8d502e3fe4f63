from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinella_plugins.accounting.config import AccountingConfig
from sentinella_plugins.accounting.lines import line_of
from sentinella_plugins.accounting.models import CallQuery, LedgerLine, Sums, UsageQuery
from sentinella_plugins.accounting.service import AccountingService
from sentinella_plugins.accounting.stage import AccountingStage
from sentinella_plugins.kernel.call import Attempt, Call, Options, Outcome, Principal, Usage
from sentinella_plugins.kernel.clock import ManualClock
from sentinella_plugins.kernel.errors import ModelForbidden, UpstreamFailed
from sentinella_plugins.kernel.events import CallAbandoned, Events
from sentinella_plugins.kernel.money import Nano
from sentinella_plugins.storage.database import Database

DAY = 86_400
NOW = 1_700_000_000.0
EVER = CallQuery(since=0.0, until=4e9)
ACME = Principal(tenant="acme", key_id="key_1")


@asynccontextmanager
async def ledger(
    folder: Path, config: AccountingConfig | None = None, clock: ManualClock | None = None
) -> AsyncIterator[AccountingService]:
    clock = clock or ManualClock()
    database = Database(f"sqlite:///{folder / 'db.sqlite'}", clock=clock)
    await database.open()
    service = AccountingService(database, clock, config or AccountingConfig(), folder / "spool")
    try:
        yield service
    finally:
        await service.close()
        await database.close()


def call(**changes: object) -> Call:
    plain = Call(
        id="req_1",
        route="/v1/chat/completions",
        model="gpt-4o-mini",
        requested="auto",
        body={"messages": []},
        principal=ACME,
        received_at=NOW,
        started=0.0,
    )
    return plain.evolve(**changes)


def line(number: int, **changes: object) -> LedgerLine:
    fields: dict[str, object] = {
        "request_id": f"req_{number:06d}",
        "at": NOW + number,
        "tenant": "acme",
        "key_id": "key_1",
        "route": "/v1/chat/completions",
        "requested_model": "auto",
        "model": "gpt-4o",
        "provider": "openai",
        "status": "success",
        "prompt_tokens": 3,
        "completion_tokens": 4,
        "cost": Nano(7),
    }
    return LedgerLine(**{**fields, **changes})  # type: ignore[arg-type]


def test_a_line_tells_the_whole_story() -> None:
    outcome = Outcome(
        status="error",
        model="claude-3-haiku",
        provider="anthropic",
        usage=Usage(prompt=10, completion=5, cached=4, reasoning=2),
        cost=Nano(123),
        latency_ms=12.5,
        first_token_ms=3.5,
        attempts=(
            Attempt(model="claude-3-haiku", provider="anthropic", status="error", ms=12.0, error="boom"),
        ),
        error=UpstreamFailed(),
    )
    made = line_of(call(stream=True, options=Options(session_id="s1")), outcome)
    assert made == LedgerLine(
        request_id="req_1",
        at=NOW,
        tenant="acme",
        key_id="key_1",
        route="/v1/chat/completions",
        requested_model="auto",
        model="claude-3-haiku",
        provider="anthropic",
        status="error",
        error_code="upstream_failed",
        prompt_tokens=10,
        completion_tokens=5,
        cached_tokens=4,
        reasoning_tokens=2,
        cost=Nano(123),
        latency_ms=12.5,
        first_token_ms=3.5,
        stream=True,
        attempts=(outcome.attempts[0].public(),),
        session_id="s1",
    )


def test_nobody_pays_for_a_refusal() -> None:
    assert line_of(call(), Outcome(status="refused", error=ModelForbidden())) is None
    assert line_of(call(principal=Principal(tenant="", key_id="")), Outcome(status="cancelled")) is None


@given(
    text=st.text(max_size=400),
    tokens=st.integers(-(10**30), 10**30),
    ms=st.floats(allow_nan=True, allow_infinity=True),
)
@settings(max_examples=60, deadline=None)
def test_every_outcome_fits_the_ledger(text: str, tokens: int, ms: float) -> None:
    wild = "\ud800\0" + text
    made = line_of(
        call(id="req", model=wild, requested=wild, body={}, options=Options(session_id=wild)),
        Outcome(status="success", model=wild, usage=Usage(prompt=tokens), cost=Nano(tokens), latency_ms=ms),
    )
    assert made is not None

    async def scenario() -> None:
        with TemporaryDirectory() as folder:
            async with ledger(Path(folder)) as service:
                await service.record(made)
                kept, _ = await service.calls(EVER)
                assert kept == [made]

    asyncio.run(scenario())


LINES = st.lists(
    st.builds(
        line,
        st.integers(0, 10**6),
        at=st.floats(0, 5 * DAY, allow_nan=False),
        tenant=st.sampled_from(["acme", "umbrella"]),
        key_id=st.sampled_from(["key_1", "key_2"]),
        model=st.sampled_from(["gpt-4o", "claude", "=cmd()"]),
        provider=st.sampled_from(["openai", "anthropic"]),
        status=st.sampled_from(["success", "error", "cancelled", "abandoned"]),
        prompt_tokens=st.integers(0, 2**40),
        completion_tokens=st.integers(0, 2**40),
        cached_tokens=st.integers(0, 2**40),
        cost=st.integers(0, 2**50),
    ),
    max_size=40,
    unique_by=lambda made: made.request_id,
)
GROUPS = st.lists(st.sampled_from(["day", "model", "key", "tenant", "provider"]), unique=True)


@given(
    lines=LINES,
    group_by=GROUPS,
    tenant=st.sampled_from([None, "acme"]),
    bounds=st.tuples(st.integers(0, 5 * DAY), st.integers(0, 5 * DAY)),
)
@settings(max_examples=60, deadline=None)
def test_usage_is_the_sum_of_the_lines(
    lines: list[LedgerLine], group_by: list[str], tenant: str | None, bounds: tuple[int, int]
) -> None:
    since, until = sorted(bounds)
    asked = [made for made in lines if since <= made.at < until and tenant in (None, made.tenant)]
    expected: dict[tuple[str, ...], list[LedgerLine]] = defaultdict(list)
    for made in asked:
        values = {
            "day": f"1970-01-{int(made.at // DAY) + 1:02d}",
            "model": made.model,
            "key": made.key_id,
            "tenant": made.tenant,
            "provider": made.provider,
        }
        expected[tuple(values[name] for name in group_by)].append(made)

    async def scenario() -> None:
        with TemporaryDirectory() as folder:
            async with ledger(Path(folder)) as service:
                await asyncio.gather(*map(service.record, lines))
                query = UsageQuery(since=since, until=until, tenant=tenant, group_by=tuple(group_by))  # type: ignore[arg-type]
                report = await service.usage(query)
        got = {
            tuple(row.group[name] for name in group_by): row.sums for row in report.rows if row.sums.requests
        }
        assert got == {group: sums(own) for group, own in expected.items()}
        assert report.total == sums(asked)

    asyncio.run(scenario())


def sums(lines: list[LedgerLine]) -> Sums:
    return Sums(
        requests=len(lines),
        successes=sum(made.status == "success" for made in lines),
        errors=sum(made.status == "error" for made in lines),
        prompt_tokens=sum(made.prompt_tokens for made in lines),
        completion_tokens=sum(made.completion_tokens for made in lines),
        cached_tokens=sum(made.cached_tokens for made in lines),
        reasoning_tokens=sum(made.reasoning_tokens for made in lines),
        cost=Nano(sum(made.cost for made in lines)),
    )


def test_the_same_call_twice_is_one_line(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with ledger(tmp_path) as service:
            await asyncio.gather(service.record(line(1)), service.record(line(1)))
            await service.record(line(1, cost=Nano(999)))
            kept, _ = await service.calls(EVER)
            assert kept == [line(1)]

    asyncio.run(scenario())


def test_an_abandoned_call_costs_nothing_until_the_truth_arrives(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with ledger(tmp_path) as service:
            events = Events()
            service.listen(events)
            await events.publish(
                CallAbandoned(
                    at=NOW + 60,
                    tenant="acme",
                    request_id="req_000001",
                    key_id="key_1",
                    route="/v1/chat/completions",
                    model="gpt-4o",
                    started_at=NOW + 1,
                )
            )
            [kept], _ = await service.calls(EVER)
            assert (kept.status, kept.cost, kept.at) == ("abandoned", 0, NOW + 1)
            await service.record(line(1))
            await service.record(line(1, status="abandoned", cost=Nano(0)))
            assert await service.calls(EVER) == ([line(1)], False)

    asyncio.run(scenario())


def test_calls_are_listed_newest_first_and_paged(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with ledger(tmp_path) as service:
            lines = [
                line(number, at=NOW + number // 3, status="error" if number == 4 else "success")
                for number in range(10)
            ]
            await asyncio.gather(*map(service.record, lines))
            await service.record(line(99, tenant="umbrella"))
            seen: list[LedgerLine] = []
            more, after = True, None
            while more:
                page, more = await service.calls(replace(EVER, tenant="acme", limit=4, after=after))
                seen += page
                after = page[-1].request_id
            assert seen == lines[::-1]
            assert (await service.calls(replace(EVER, status="error")))[0] == [lines[4]]
            assert (await service.calls(replace(EVER, model="claude")))[0] == []

    asyncio.run(scenario())


def test_old_lines_go_in_batches(tmp_path: Path) -> None:
    async def scenario() -> None:
        clock = ManualClock(NOW + 10 * DAY)
        async with ledger(tmp_path, AccountingConfig(keep_days=10, trim_batch=2), clock) as service:
            await asyncio.gather(*(service.record(line(number, at=NOW - 3 + number)) for number in range(6)))
            assert await service.trim() == 3
            kept, _ = await service.calls(EVER)
            assert [made.at for made in kept] == [NOW + 2, NOW + 1, NOW]
        async with ledger(tmp_path, AccountingConfig(keep_days=None), clock) as service:
            assert await service.trim() == 0

    asyncio.run(scenario())


def test_the_stage_keeps_the_books(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with ledger(tmp_path) as service:
            stage = AccountingStage(service)
            await stage.leave(call(), Outcome(status="success", model="gpt-4o-mini", cost=Nano(5)))
            await stage.leave(call(id="req_2"), Outcome(status="refused"))
            kept, _ = await service.calls(EVER)
            assert [made.request_id for made in kept] == ["req_1"]

    asyncio.run(scenario())


def test_settings_are_described() -> None:
    assert all(field.description for field in AccountingConfig.model_fields.values())
    with pytest.raises(ValueError, match="extra"):
        AccountingConfig(keep_day=3)  # type: ignore[call-arg]
