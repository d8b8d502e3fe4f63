from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinella_plugins.fallback.breaker import Breaker
from sentinella_plugins.fallback.config import BreakerConfig
from sentinella_plugins.fallback.window import BUCKETS, Window

DEFAULT = BreakerConfig()
Times = st.lists(st.floats(0.0, 20.0), min_size=1, max_size=60)


def tripped(config: BreakerConfig = DEFAULT, now: float = 0.0) -> Breaker:
    breaker = Breaker(config, now)
    for _ in range(config.quiet_failures):
        breaker.record(now, now, ok=False)
    assert breaker.state(now) == "open"
    return breaker


def simulate(
    works: Callable[[float], bool], *, per_second: int, seconds: int, config: BreakerConfig = DEFAULT
) -> tuple[Breaker, list[float], list[float]]:
    """A breaker before one upstream: when it failed a call, and when the breaker opened."""
    breaker = Breaker(config, 0.0)
    failed, opened = [], []
    for number in range(seconds * per_second):
        now = number / per_second
        if not breaker.enter(now):
            continue
        ok = works(now)
        if not ok:
            failed.append(now)
        change = breaker.record(now, now, ok=ok)
        if change is not None and change.to == "open":
            opened.append(now)
    return breaker, failed, opened


@pytest.mark.parametrize(("per_second", "detection"), [(1, 2), (200, 5)])
@pytest.mark.parametrize("starts_well", [True, False])
@pytest.mark.parametrize("phase", [5.0, 5.3, 6.7])
def test_a_flapping_model_costs_one_failed_attempt_each_time_the_breaker_opens(
    per_second: int, detection: int, starts_well: bool, phase: float
) -> None:
    def works(now: float) -> bool:
        return (now // phase) % 2 == (0 if starts_well else 1)

    _, failed, opened = simulate(works, per_second=per_second, seconds=60)
    assert len(opened) >= 4
    assert len([at for at in failed if at <= opened[0]]) <= detection
    assert [at for at in failed if at > opened[0]] == opened[1:]
    assert all(later - earlier >= DEFAULT.open_s for earlier, later in pairwise(opened))


@pytest.mark.parametrize("per_second", [1, 200])
def test_five_seconds_well_and_five_ill_cost_one_failed_attempt_per_window(per_second: int) -> None:
    _, failed, opened = simulate(lambda now: now % 10 >= 5, per_second=per_second, seconds=100)
    later = [at for at in failed if at > opened[0]]
    assert later and all(
        len([at for at in later if start <= at < start + DEFAULT.window_s]) <= 1 for start in later
    )


@pytest.mark.parametrize("seed", range(5))
def test_few_random_errors_of_a_busy_model_do_not_open_it(seed: int) -> None:
    random = Random(seed)
    _, failed, opened = simulate(lambda _: random.random() >= 0.02, per_second=200, seconds=120)
    assert len(failed) > 300
    assert opened == []


def test_a_busy_model_with_few_errors_gets_over_an_outage() -> None:
    random = Random(1)
    breaker, _, opened = simulate(
        lambda now: now >= 5 and random.random() >= 0.02, per_second=200, seconds=300
    )
    assert max(opened) <= DEFAULT.probation_s + 2 * DEFAULT.open_max_s
    assert breaker.state(300) == "closed"


def test_a_dead_model_is_asked_less_and_less() -> None:
    _, failed, _ = simulate(lambda _: False, per_second=10, seconds=600)
    assert len(failed) <= 2 + 4 + 600 / DEFAULT.open_max_s
    assert failed[2:6] == pytest.approx([5.1, 15.1, 35.1, 75.1], abs=0.11)


def test_half_the_calls_failing_opens_a_busy_breaker() -> None:
    _, _, opened = simulate(lambda now: round(now * 10) % 2 == 0, per_second=10, seconds=10)
    assert opened


def test_a_quiet_model_survives_single_failures() -> None:
    _, failed, opened = simulate(lambda now: now % 3 != 0, per_second=1, seconds=60)
    assert len(failed) == 20 and opened == []


def test_failures_that_lie_far_apart_are_not_in_a_row() -> None:
    breaker = Breaker(DEFAULT, 0.0)
    for minute in range(20):
        assert breaker.record(minute * 60.0, minute * 60.0, ok=False) is None


def test_slow_calls_open_and_a_slow_probe_does_not_close() -> None:
    breaker = Breaker(DEFAULT, 0.0)
    changes = [breaker.record(1.0, 0.5, ok=True, slow=True) for _ in range(DEFAULT.min_calls)]
    assert changes[-1] is not None and changes[-1].reason == "slow_calls"
    after = breaker.until
    assert breaker.enter(after)
    again = breaker.record(after + 40, after, ok=True, slow=True)
    assert again is not None and again.reason == "probe_failed"


def test_results_of_attempts_from_before_a_change_do_not_count() -> None:
    breaker = tripped()
    assert breaker.enter(breaker.until)
    change = breaker.record(breaker.until + 0.1, breaker.until, ok=True)
    assert change is not None and change.to == "closed"
    for _ in range(100):  # eight seconds of silence each, begun while the model was down
        assert breaker.record(6.0, 1.0, ok=False) is None
    assert breaker.state(6.0) == "closed"


def test_an_attempt_in_spite_of_an_open_breaker_may_close_it_but_not_prolong_it() -> None:
    breaker = tripped()
    until = breaker.until
    assert breaker.record(1.0, 0.9, ok=False) is None
    assert breaker.until == until
    change = breaker.record(2.0, 1.9, ok=True)
    assert change is not None and change.to == "closed"


def test_a_probe_without_a_result_gives_its_place_back() -> None:
    breaker = tripped()
    now = breaker.until
    assert breaker.enter(now) and not breaker.enter(now)
    breaker.release()
    assert breaker.enter(now)
    assert not breaker.enter(now + DEFAULT.slow_call_s - 0.1)
    assert breaker.enter(now + DEFAULT.slow_call_s)


def test_what_others_found_out_is_taken_over() -> None:
    breaker = Breaker(DEFAULT, 0.0)
    assert breaker.adopt("open", 7.0, "error_rate", 1.0)
    assert (breaker.state(1.0), breaker.until, breaker.reason) == ("open", 7.0, "error_rate")
    assert not breaker.adopt("open", 6.0, "error_rate", 1.0)
    assert not breaker.adopt("open", 0.5, "error_rate", 1.0)
    assert breaker.adopt("closed", 2.0, "probe_succeeded", 2.0)
    assert not breaker.adopt("closed", 2.0, "probe_succeeded", 2.0)
    assert breaker.state(2.0) == "closed"


def test_a_clock_that_goes_wrong_elsewhere_shuts_nothing_for_ever() -> None:
    breaker = Breaker(DEFAULT, 0.0)
    breaker.adopt("open", 1e9, "error_rate", 1.0)
    assert breaker.until == 1.0 + DEFAULT.open_max_s


Act = st.sampled_from(["enter", "ok", "fail", "slow", "none", "adopt_open", "adopt_closed", "late"])


@settings(max_examples=300, deadline=None)
@given(
    acts=st.lists(st.tuples(st.floats(0.0, 12.0), Act), max_size=120),
    probes=st.integers(1, 3),
)
def test_never_more_probes_than_allowed_and_always_one_after_the_pause(
    acts: list[tuple[float, str]], probes: int
) -> None:
    config = BreakerConfig(half_open_probes=probes, slow_call_s=1000.0)
    breaker, now = Breaker(config, 0.0), 0.0
    running: list[float] = []
    for pause, act in acts:
        now += pause
        opened_before = (breaker.state(now), breaker.until)
        if act == "enter":
            state = breaker.state(now)
            if state == "open":
                assert not breaker.enter(now)
            elif breaker.enter(now) and state == "half_open":
                running.append(now)
        elif act == "adopt_open":
            breaker.adopt("open", now + pause, "told", now)
        elif act == "adopt_closed":
            breaker.adopt("closed", now, "told", now)
        elif act == "late":
            breaker.record(now, -1.0, ok=False)
        elif running and act == "none":
            breaker.release()
            running.pop(0)
        elif running or breaker.state(now) == "closed":
            started = running.pop(0) if running else now
            breaker.record(now, started, ok=act in ("ok", "slow"), slow=act == "slow")
        if (breaker.state(now), breaker.until) != opened_before and breaker.state(now) != "half_open":
            running.clear()
        assert len(running) <= probes
        if breaker.state(now) == "half_open" and not running:
            assert breaker.blocked_until(now) is None
        assert breaker.until <= now + config.open_max_s


@settings(max_examples=100, deadline=None)
@given(
    outcomes=st.lists(st.booleans(), max_size=200),
    pauses=st.lists(st.floats(0.001, 30.0), min_size=1, max_size=10),
)
def test_a_healthy_model_always_gets_its_calls_back(outcomes: list[bool], pauses: list[float]) -> None:
    breaker, now = Breaker(DEFAULT, 0.0), 0.0
    for index, ok in enumerate(outcomes):
        now += pauses[index % len(pauses)]
        if breaker.enter(now):
            breaker.record(now, now, ok=ok)
    now += DEFAULT.open_max_s
    assert breaker.enter(now)
    breaker.record(now, now, ok=True)
    for second in range(500):
        assert breaker.enter(now + second)
        breaker.record(now + second, now + second, ok=True)
    assert breaker.state(now + 500) == "closed"


@given(steps=st.lists(st.tuples(st.floats(0.0, 9.0), st.booleans(), st.booleans()), max_size=300))
def test_a_window_forgets_and_never_grows(steps: list[tuple[float, bool, bool]]) -> None:
    window, now, seen = Window(10.0), 0.0, []
    for pause, failed, slow in steps:
        now += pause
        window.add(now, failed=failed, slow=slow)
        seen.append((int(now), failed, slow))
        recent = [entry for entry in seen if entry[0] > int(now) - BUCKETS]
        assert window.counts(now) == (
            len(recent),
            sum(entry[1] for entry in recent),
            sum(entry[2] for entry in recent),
        )
        assert len(window._slots) == BUCKETS
