"""The measurements, side by side: in every round each side has its turn (A B A B ...)."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import median, quantiles
from typing import Any

from benchmarks import sides
from benchmarks.load import Load, Request, answered, drive, first_tokens
from benchmarks.processes import BenchmarkFailed
from benchmarks.sides import Side

_SETTLE_S = 0.5
_TOLERATED_PASSES = 8
"""Of calls over a limit per minute: each minute that begins lets one through, and those already asked."""


@dataclass(frozen=True, slots=True)
class Plan:
    seconds: float
    rounds: int
    concurrency: int


Sample = dict[str, float]
"""What one turn of one side gave: figure → value."""

Rows = dict[str, dict[str, list[Sample]]]
"""Measurement → side → one sample per round."""

Measurement = Callable[[Side, Plan], Sample]


def misses(side: Side, plan: Plan) -> Sample:
    return _accepted(side, sides.MISS, plan.seconds, plan.concurrency)


def alone(side: Side, plan: Plan) -> Sample:
    return _accepted(side, sides.MISS, plan.seconds, 1)


def streams(side: Side, plan: Plan) -> Sample:
    return _accepted(side, sides.STREAMED, plan.seconds, plan.concurrency)


def first_token(side: Side, plan: Plan) -> Sample:
    found = first_tokens(Request(side.server.port, side.open_key, sides.STREAMED), seconds=plan.seconds)
    wrong = {one.chunks for one in found} - {sides.CHUNKS}
    if wrong or len(found) < 2:
        raise BenchmarkFailed(f"`{side.name}`: {len(found)} streams, some of {wrong} chunks")
    firsts = [one.first_s * 1000 for one in found]
    return {"p50_ms": median(firsts), "p99_ms": quantiles(firsts, n=100)[98]}


def equal_calls(side: Side, plan: Plan) -> Sample:
    """Hits where there is a cache."""
    _answer(side)
    return _accepted(side, sides.QUESTION, plan.seconds, plan.concurrency)


def equal_calls_alone(side: Side, plan: Plan) -> Sample:
    _answer(side)
    return _accepted(side, sides.QUESTION, plan.seconds, 1)


def near_questions(side: Side, plan: Plan) -> Sample:
    """Each in words of its own, so that its vector is made anew; only those that the cache answered count."""
    _answer(side)
    bodies = ({**sides.QUESTION, "messages": [{"role": "user", "content": text}]} for text in _wordings())
    # What misses is not kept: the next round asks alike.
    only = {"cache-control": "only-if-cached"}
    found = answered(side.server.port, side.open_key, bodies, seconds=plan.seconds, extra=only)
    near = [ms for ms, answer in found if _is_near(answer)] if _cached(found) else [ms for ms, _ in found]
    return {"p50_ms": median(near), "p99_ms": quantiles(near, n=100)[98], "share": len(near) / len(found)}


def _answer(side: Side) -> None:
    answered(side.server.port, side.open_key, [sides.QUESTION], seconds=10)
    time.sleep(_SETTLE_S)


def _cached(found: Sequence[tuple[float, dict[str, Any]]]) -> bool:
    return any(answer.get("cached") for _, answer in found)


def _is_near(answer: Mapping[str, Any]) -> bool:
    return bool(answer.get("cached")) and answer["sentinella"]["cache"].get("kind") == "semantic"


def _wordings() -> Iterator[str]:
    """No two are the same text for an encoder: spaces differ where words do not, and courtesies, which the
    cache leaves out, are not among what differs."""
    asked = (
        "What is the capital of France, and why?",
        "What's the capital of France, and why?",
        "what is the capital city of France and why",
        "Which city is the capital of France, and why?",
        "Why, and what, is the capital of France?",
    )
    found = [
        "".join(word + space for word, space in zip(words, (*spaces, ""), strict=True)) + after
        for words in map(str.split, asked)
        for spaces in product((" ", "  "), repeat=len(words) - 1)
        for after in ("", "?", " ??")
    ]
    random.shuffle(found)
    return iter(found)


def strangers(side: Side, plan: Plan) -> Sample:
    return _refused(side, sides.STRANGER, plan)


def over_limit(side: Side, plan: Plan) -> Sample:
    return _refused(side, side.tight_key, plan)


MEASUREMENTS: dict[str, Measurement] = {
    "miss": misses,
    "miss, alone": alone,
    "streamed miss": streams,
    "first token": first_token,
    "exact hit": equal_calls,
    "exact hit, alone": equal_calls_alone,
    "semantic hit, alone": near_questions,
    "refusal 401": strangers,
    "refusal 429": over_limit,
}


def warmed(compared: Sequence[Side], plan: Plan) -> None:
    short = Plan(min(plan.seconds, 2.0), 1, plan.concurrency)
    for side in compared:
        sides.check_refusals(side)
        for measure in (misses, streams, over_limit):
            measure(side, short)


def measured(compared: Sequence[Side], plan: Plan) -> Rows:
    rows: Rows = {}
    for name, measure in MEASUREMENTS.items():
        samples = rows[name] = {side.name: [] for side in _concerned(name, compared)}
        for _ in range(plan.rounds):
            for side in _concerned(name, compared):
                samples[side.name].append(measure(side, plan))
    return rows


def _concerned(name: str, compared: Sequence[Side]) -> Sequence[Side]:
    """A refusal does not know whether another tenant has limits."""
    return compared[:2] if name.startswith("refusal") else compared


def _accepted(side: Side, body: Mapping[str, object], seconds: float, concurrency: int) -> Sample:
    sample, load = _driven(side, side.open_key, body, seconds, concurrency)
    if load.refused:
        raise BenchmarkFailed(f"`{side.name}` refused {load.refused} of {load.requests} calls")
    return sample


def _refused(side: Side, key: str, plan: Plan) -> Sample:
    sample, load = _driven(side, key, sides.QUESTION, plan.seconds, plan.concurrency)
    passed = load.requests - load.refused
    if passed > _TOLERATED_PASSES + plan.concurrency:
        raise BenchmarkFailed(f"`{side.name}` let {passed} of {load.requests} calls pass")
    return sample


def _driven(
    side: Side, key: str, body: Mapping[str, object], seconds: float, concurrency: int
) -> tuple[Sample, Load]:
    before = side.server.cpu_s()
    load = drive(Request(side.server.port, key, body), seconds=seconds, concurrency=concurrency)
    time.sleep(_SETTLE_S)
    cpu_s = side.server.cpu_s() - before
    # wrk drops the calls that run when its time is up: on average half of each was done.
    calls = load.requests + concurrency / 2
    sample = {
        "per_s": load.rate,
        "p50_ms": load.p50_ms,
        "p99_ms": load.p99_ms,
        "cpu_ms": cpu_s / calls * 1000,
    }
    return sample, load
