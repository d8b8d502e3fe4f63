from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinella_plugins.kernel.call import Estimate
from sentinella_plugins.kernel.clock import ManualClock
from sentinella_plugins.kernel.limits import UNLIMITED, Limits
from sentinella_plugins.kernel.money import Nano
from sentinella_plugins.tenancy.limits import SPECS, Period, Use, claims, seconds_until, standing, window

PERIODS: tuple[Period, ...] = get_args(Period)
ALL = Limits(
    requests_per_minute=1,
    requests_per_hour=2,
    requests_per_day=3,
    tokens_per_minute=4,
    cost_per_day_usd=5,
    cost_per_month_usd=6,
    max_concurrency=7,
)
USES = Estimate(prompt_tokens=10, completion_tokens=5, cost=Nano(77))

instants = st.floats(0, 7.26e9)
periods = st.sampled_from(PERIODS)


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


@given(periods, instants)
def test_every_instant_is_in_its_window(period: Period, now: float) -> None:
    inside = window(period, now)
    assert inside.start <= now < inside.end


@given(periods, instants)
def test_windows_meet_and_the_boundary_belongs_to_the_new_one(period: Period, now: float) -> None:
    inside = window(period, now)
    after = window(period, inside.end)
    assert after.start == inside.end
    assert window(period, inside.end - 1e-6) == inside
    assert window(period, inside.start) == inside


@given(periods, instants, st.lists(st.floats(0, 40 * 86_400), max_size=30))
def test_no_request_counts_in_two_windows(period: Period, start: float, steps: list[float]) -> None:
    clock, counted = ManualClock(start), dict[int, int]()
    for step in steps:
        clock.advance(step)
        first = window(period, clock.now()).start
        counted[first] = counted.get(first, 0) + 1
    assert sum(counted.values()) == len(steps)
    ends = [window(period, first).end for first in counted]
    assert all(end <= later for end, later in zip(ends, list(counted)[1:], strict=False))


@given(instants)
def test_a_month_is_a_calendar_month(now: float) -> None:
    inside = window("month", now)
    first, end = datetime.fromtimestamp(inside.start, UTC), datetime.fromtimestamp(inside.end, UTC)
    assert (first.day, first.hour, first.minute, first.second) == (1, 0, 0, 0)
    assert (end - timedelta(seconds=1)).month == first.month == datetime.fromtimestamp(now, UTC).month
    assert end.day == 1


@given(st.sampled_from([("minute", 60), ("hour", 3_600), ("day", 86_400)]), instants)
def test_fixed_windows_are_aligned_to_the_epoch(kind: tuple[Period, int], now: float) -> None:
    inside = window(kind[0], now)
    assert inside.end - inside.start == kind[1]
    assert inside.start % kind[1] == 0


@pytest.mark.parametrize(
    ("now", "start", "end"),
    [
        ("2024-02-29T23:59:59", "2024-02-01", "2024-03-01"),
        ("2023-02-28T12:00:00", "2023-02-01", "2023-03-01"),
        ("2100-02-28T23:59:59", "2100-02-01", "2100-03-01"),
        ("2026-01-31T00:00:00", "2026-01-01", "2026-02-01"),
        ("2026-12-31T23:59:59", "2026-12-01", "2027-01-01"),
        ("2027-01-01T00:00:00", "2027-01-01", "2027-02-01"),
    ],
)
def test_months(now: str, start: str, end: str) -> None:
    inside = window("month", at(now))
    assert (inside.start, inside.end) == (at(start), at(end))


def test_every_limit_has_its_spec() -> None:
    assert [spec.name for spec in SPECS] == list(Limits.model_fields)


def test_only_what_is_limited_is_claimed() -> None:
    assert claims("t:acme", UNLIMITED, USES, 0) == []
    [(spec, claim)] = claims("t:acme", Limits(requests_per_hour=9), USES, 7_300)
    assert spec.code == "rate_limit_hour"
    assert (claim.key, claim.amount, claim.limit, claim.expires_at) == (
        "t:acme|requests|hour|7200",
        1,
        9,
        10_800,
    )


def test_all_claims() -> None:
    now = at("2026-11-22T21:20:30")
    found = [(claim.key, claim.amount, claim.limit) for _, claim in claims("k:1", ALL, USES, now)]
    assert found == [
        (f"k:1|requests|minute|{at('2026-11-22T21:20:00')}", 1, 1),
        (f"k:1|requests|hour|{at('2026-11-22T21:00:00')}", 1, 2),
        (f"k:1|requests|day|{at('2026-11-22')}", 1, 3),
        (f"k:1|tokens|minute|{at('2026-11-22T21:20:00')}", 15, 4),
        (f"k:1|cost|day|{at('2026-11-22')}", 77, 5 * 10**9),
        (f"k:1|cost|month|{at('2026-11-01')}", 77, 6 * 10**9),
        ("k:1|calls", 1, 7),
    ]


@given(instants)
def test_keys_of_different_quantities_never_meet(now: float) -> None:
    keys = [claim.key for scope in ("t:a", "k:a") for _, claim in claims(scope, ALL, USES, now)]
    assert len(set(keys)) == len(keys) == 14


def test_standing_is_of_the_tightest_window_and_the_lower_of_tenant_and_key() -> None:
    now = 90.0
    tenant = Limits(requests_per_minute=10, requests_per_hour=10, cost_per_day_usd=5)
    key = Limits(requests_per_minute=4, cost_per_day_usd=1)
    wanted = claims("t:a", tenant, USES, now) + claims("k:a", key, USES, now)
    used = [3, 8, 750_000_000, 3, 750_000_000]
    uses = [
        Use(spec, claim, claim.limit or 0, count) for (spec, claim), count in zip(wanted, used, strict=True)
    ]
    stands = standing(uses, now)
    assert (stands.limit, stands.remaining, stands.reset_s) == (4, 1, 30)
    assert stands.budget_left == {
        "requests_per_minute": 1,
        "requests_per_hour": 2,
        "cost_per_day_usd": "0.25",
    }


@given(instants, st.floats(0, 10**6))
def test_waiting_the_told_seconds_is_enough_and_one_less_is_not(now: float, wait: float) -> None:
    seconds = seconds_until(now + wait, now)
    assert seconds >= 1
    assert now + seconds >= now + wait
    assert seconds - 1 <= max(wait, 0) + 1e-3
