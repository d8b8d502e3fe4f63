from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinella_plugins.fallback.budget import BURST, PER_SECOND, RetryBudget
from sentinella_plugins.fallback.config import FallbackConfig
from sentinella_plugins.fallback.itinerary import Itinerary, Means
from sentinella_plugins.fallback.models import Failure, Step
from sentinella_plugins.fallback.plan import Route
from sentinella_plugins.fallback.verdicts import sign, verdict
from sentinella_plugins.kernel.catalogue import ModelCard

TRANSIENT = (
    "upstream_error",
    "upstream_unavailable",
    "upstream_connection",
    "upstream_timeout",
    "upstream_silent",
    "upstream_stalled",
    "stream_interrupted",
    "upstream_malformed",
    "upstream_empty",
    "upstream_rate_limited",
    "upstream_cooling_down",
)
LOST = ("upstream_authentication", "upstream_permission", "upstream_model_not_found")
FINAL = (
    "content_filter",
    "upstream_rejected_request",
    "unsupported_parameter",
    "request_refused",
    "client_closed_request",
)


def card(name: str, provider: str, window: int | None = 100_000) -> ModelCard:
    return ModelCard(name=name, provider=provider, upstream=name, context_window=window)


A, B, C, D, E = (card(name, f"of-{name}") for name in "abcde")
LONG, UNKNOWN = card("long", "of-a", 1_000_000), card("unknown", "of-u", None)


class Gates:
    """Breakers that stand as told."""

    def __init__(self, shut: Mapping[str, float]) -> None:
        self.shut = dict(shut)
        self.entered: list[str] = []

    def blocked_until(self, model: str, now: float) -> float | None:
        return self.shut.get(model)

    def enter(self, model: str, now: float) -> bool:
        self.entered.append(model)
        return model not in self.shut


def itinerary(
    *others: ModelCard,
    shut: Mapping[str, float] | None = None,
    budget: RetryBudget | None = None,
    jitter: float = 1.0,
    long: tuple[ModelCard, ...] = (),
    fell: list[tuple[str, str, str]] | None = None,
    **settings: object,
) -> Itinerary:
    config = FallbackConfig.model_validate(settings)
    means = Means(config, Gates(shut or {}), budget or RetryBudget(config.retry_budget), lambda: jitter)
    told = [] if fell is None else fell
    return Itinerary(
        A,
        lambda: Route(A, (), others, long),
        means,
        1000.0,
        fell_over=lambda *change: told.append(change),
    )


def failing(trip: Itinerary, *codes: str, now: float = 1000.0, **more: float) -> list[Step | None]:
    return [trip.first(), *(trip.after(Failure(code, **more), now) for code in codes)]  # type: ignore[arg-type]


def names(steps: list[Step | None]) -> list[str | None]:
    return [None if step is None else step.model for step in steps]


@pytest.mark.parametrize("code", TRANSIENT)
def test_the_next_model_at_once_and_the_same_again_only_when_nothing_else_is_left(code: str) -> None:
    steps = failing(itinerary(B, C), code, code, code)
    assert names(steps)[:3] == ["a", "b", "c"]
    assert [step.wait_s for step in steps if step] == [0, 0, 0, 0.25]
    assert steps[3] is not None and steps[3].model == "a" and steps[3].reason == code


@pytest.mark.parametrize("code", LOST)
def test_what_lacks_rights_is_left_and_never_asked_again(code: str) -> None:
    assert names(failing(itinerary(B), code, "upstream_error", "upstream_error")) == ["a", "b", "b", None]


@pytest.mark.parametrize("code", FINAL)
@pytest.mark.parametrize("sent", [True, False])
def test_a_wrong_request_and_a_refusal_are_the_answer(code: str, sent: bool) -> None:
    trip = itinerary(B, C)
    trip.first()
    assert trip.after(Failure(code, 400), 1000.0, sent) is None


@pytest.mark.parametrize(
    ("status", "goes_on"), [(400, False), (404, False), (429, True), (500, True), (529, True)]
)
def test_codes_that_nobody_knows_go_by_their_status(status: int, goes_on: bool) -> None:
    trip = itinerary(B)
    trip.first()
    assert (trip.after(Failure("novel", status), 1000.0) is not None) == goes_on


def test_too_long_a_prompt_goes_to_longer_windows_only() -> None:
    trip = itinerary(B, C, UNKNOWN, LONG)
    assert names(failing(trip, "context_length_exceeded", "upstream_error")) == ["a", "long", "long"]
    assert trip.after(Failure("context_length_exceeded", 400), 1000.0) is None


def test_the_chain_for_long_prompts_is_asked_first_and_may_be_of_unknown_size() -> None:
    trip = itinerary(LONG, long=(B, UNKNOWN))
    assert names(failing(trip, "context_length_exceeded", "upstream_error")) == ["a", "unknown", "long"]


def test_the_chain_for_long_prompts_is_for_nothing_else() -> None:
    assert names(failing(itinerary(long=(LONG,)), "upstream_error", "upstream_error")) == ["a", "a", None]


def test_without_a_longer_window_the_error_is_the_answer() -> None:
    assert names(failing(itinerary(B, C), "context_length_exceeded")) == ["a", None]


def test_retry_after_does_not_keep_from_another_healthy_model() -> None:
    assert failing(itinerary(B), "upstream_rate_limited", retry_after_s=2.0)[1] == Step(
        "b", 0.0, "upstream_rate_limited"
    )


def test_retry_after_is_waited_for_when_nothing_else_is_left() -> None:
    assert failing(itinerary(), "upstream_rate_limited", retry_after_s=3.0)[1] == Step(
        "a", 3.0, "upstream_rate_limited"
    )
    assert failing(itinerary(), "upstream_rate_limited", retry_after_s=5.5)[1] is None


def test_a_model_whose_wait_is_too_long_is_passed_over() -> None:
    trip = itinerary(B)
    trip.first()
    trip.after(Failure("upstream_rate_limited", retry_after_s=60), 1000.0)
    step = trip.after(Failure("upstream_error"), 1000.0)
    assert step is not None and (step.model, step.wait_s) == ("b", 0.25)


def test_all_waits_of_a_call_have_one_budget() -> None:
    trip = itinerary(same_model_retries=9, max_attempts=9, wait_budget_s=7)
    waits = [
        step and step.wait_s for step in failing(trip, *["upstream_rate_limited"] * 3, retry_after_s=3.0)
    ]
    assert waits == [0, 3.0, 3.0, None]


def test_waits_double_up_to_the_ceiling_with_full_jitter() -> None:
    trip = itinerary(same_model_retries=9, max_attempts=9)
    steps = failing(trip, *["upstream_error"] * 5)
    assert [step and step.wait_s for step in steps] == [0, 0.25, 0.5, 1.0, 2.0, 2.0]
    half = failing(itinerary(jitter=0.5), "upstream_error")
    assert half[1] is not None and half[1].wait_s == 0.125


def test_attempts_and_time_are_bounded() -> None:
    assert names(failing(itinerary(B, C, D, E), *["upstream_error"] * 4)) == ["a", "b", "c", "d", None]
    assert names(failing(itinerary(B), "upstream_error", now=1600.0)) == ["a", None]
    assert names(failing(itinerary(), "upstream_rate_limited", now=1598.0, retry_after_s=3.0)) == ["a", None]


def test_an_open_breaker_sends_the_call_elsewhere_from_the_start() -> None:
    fell: list[tuple[str, str, str]] = []
    trip = itinerary(B, C, shut={"a": 1005.0}, fell=fell)
    assert trip.first() == Step("b", 0.0, "breaker_open")
    assert fell == [("a", "b", "breaker_open")]


def test_an_open_breaker_sends_the_call_to_another_provider_first() -> None:
    assert itinerary(card("a2", "of-a"), B, shut={"a": 1005.0}).first().model == "b"


def test_when_everything_is_shut_the_soonest_is_tried() -> None:
    shut = {"a": 1030.0, "b": 1004.0, "c": 1003.0}
    trip = itinerary(B, C, shut=shut)
    assert trip.first() == Step("c", 0.0, "least_bad")
    assert names([trip.after(Failure("upstream_error"), 1000.0) for _ in range(3)]) == ["c", "b", "b"]
    alone = itinerary(shut={"a": 1030.0})
    assert alone.first() == Step("a", 0.0, "least_bad")


def test_the_retry_budget_keeps_from_more_load() -> None:
    budget = RetryBudget(0.2)
    retried = sum(failing(itinerary(budget=budget), "upstream_error")[1] is not None for _ in range(1000))
    assert 200 <= retried <= 200 + BURST
    assert failing(itinerary(budget=RetryBudget(0.0)), "upstream_error")[1] is None


def test_the_budget_does_not_keep_from_other_models() -> None:
    assert failing(itinerary(B, budget=RetryBudget(0.0)), "upstream_error")[1] == Step(
        "b", 0, "upstream_error"
    )


@pytest.mark.parametrize(
    ("recovery", "expected"), [("continue", "continue"), ("restart", "restart"), ("error", 0)]
)
def test_after_text_was_sent_it_goes_on_as_wished(recovery: str, expected: str | int) -> None:
    trip = itinerary(B, stream_recovery=recovery)
    trip.first()
    step = trip.after(Failure("stream_interrupted"), 1000.0, sent_tokens=True)
    assert (step.recovery if step else 0) == expected


def test_before_text_was_sent_nothing_needs_recovery() -> None:
    trip = itinerary(B, stream_recovery="error")
    trip.first()
    assert trip.after(Failure("upstream_silent"), 1000.0) == Step("b", 0.0, "upstream_silent")


def test_a_model_that_rejects_the_half_written_answer_is_asked_without_it_once() -> None:
    trip = itinerary(B, C)
    trip.first()
    trip.after(Failure("stream_interrupted"), 1000.0, sent_tokens=True)
    rejected = Failure("upstream_rejected_request", 400)
    assert trip.after(rejected, 1000.0, sent_tokens=True) == Step(
        "b", 0.0, "upstream_rejected_request", "restart"
    )
    assert trip.after(rejected, 1000.0, sent_tokens=True) is None


def test_a_hedge_is_another_healthy_model_and_counts_as_an_attempt() -> None:
    trip = itinerary(B, shut={"b": 1.0}, max_attempts=2)
    trip.first()
    assert trip.hedge(1000.0) is None
    trip = itinerary(B, C, max_attempts=2)
    trip.first()
    assert trip.hedge(1000.4) == Step("b", 0.0, "hedge")
    assert trip.hedge(1000.4) is None
    trip = itinerary(B, C)
    trip.first()
    trip.hedge(1000.4)
    after = trip.after(Failure("upstream_error", model="a"), 1000.5)
    assert after is not None and after.model == "c"


def test_falling_over_is_told_with_both_names_and_not_for_the_same_model() -> None:
    fell: list[tuple[str, str, str]] = []
    failing(itinerary(B, fell=fell), "upstream_silent", "upstream_error", "upstream_error")
    assert fell[0] == ("a", "b", "upstream_silent")
    assert all(failed != model for failed, model, _ in fell)


def test_the_health_of_a_model_is_not_that_of_the_request() -> None:
    assert {sign(False, code) for code in TRANSIENT + LOST} == {"ill"}
    assert (
        sign(True, None) == sign(False, "content_filter") == sign(False, "context_length_exceeded") == "well"
    )
    assert sign(False, "request_refused") == sign(False, "cancelled") == "none"


Codes = st.sampled_from([*TRANSIENT, *LOST, *FINAL, "context_length_exceeded", "novel"])
Failures = st.builds(
    Failure,
    code=Codes,
    status=st.sampled_from([400, 429, 500, 503]),
    retry_after_s=st.none() | st.floats(0, 20),
)


@settings(max_examples=300, deadline=None)
@given(
    events=st.lists(st.tuples(Failures, st.floats(0, 50), st.booleans()), max_size=15),
    others=st.lists(st.sampled_from([B, C, D, E, LONG, UNKNOWN]), unique=True),
    shut=st.dictionaries(st.sampled_from(["a", "b", "c", "d", "long"]), st.floats(1000, 2000)),
    most=st.integers(1, 6),
)
def test_every_call_ends_within_its_bounds(
    events: list[tuple[Failure, float, bool]],
    others: list[ModelCard],
    shut: dict[str, float],
    most: int,
) -> None:
    trip = itinerary(*others, shut=shut, max_attempts=most, total_s=100)
    steps, now, lost, longer = [trip.first()], 1000.0, set(), 0
    for failure, pause, sent in events:
        now += pause
        failed = next(one for one in (A, *others) if one.name == steps[-1].model)
        step = trip.after(failure, now, sent)
        if step is None:
            break
        if verdict(failure) in ("never_again", "longer_window"):
            lost.add(failed.name)
        if verdict(failure) == "longer_window":
            longer = max(longer, failed.context_window or 0)
        asked = next(one for one in (A, *others) if one.name == step.model)
        rejected = failure.code in ("upstream_rejected_request", "unsupported_parameter")
        assert verdict(failure) != "stop" or (rejected and steps[-1].recovery == "continue")
        assert step.model not in lost
        assert not longer or (asked.context_window or 0) > longer
        assert now + step.wait_s < 1100
        steps.append(step)
    assert len(steps) <= most
    assert sum(step.wait_s for step in steps) <= 10
    used = [
        step.model
        for step in steps
        if step.reason not in ("upstream_rejected_request", "unsupported_parameter")
    ]
    assert all(used.count(name) <= 2 for name in used)


@settings(max_examples=200, deadline=None)
@given(
    share=st.floats(0, 1),
    acts=st.lists(st.tuples(st.floats(0, 5), st.booleans()), max_size=300),
)
def test_retries_stay_a_share_of_the_calls(share: float, acts: list[tuple[float, bool]]) -> None:
    budget, now, calls, retries = RetryBudget(share), 0.0, 0, 0
    for pause, is_call in acts:
        now += pause
        if is_call:
            budget.deposit("m", now)
            calls += 1
        else:
            retries += budget.take("m", now)
    assert retries <= BURST + share * calls + PER_SECOND * now + 1e-6
