"""Sixteen upstream faults against Sentinella and bare LiteLLM: `python -m benchmarks.failover --json FILE`.

pass     the whole answer, its first byte within 12 s (a content filter: told, and nobody else was asked)
partial  an honest error, a whole answer that came late, or more load on a sick model than a breaker allows
fail     half an answer sold as a whole one, no end within the client's patience, or a filter routed round
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import httpx
import openai

from benchmarks import sides
from benchmarks.failover_sides import FailoverSide, opened, primary_of
from benchmarks.faults import BACKUP, CASES, PRIMARY, WORDS, Case, rules
from benchmarks.processes import BenchmarkFailed, ask

Grade = Literal["pass", "partial", "fail", "-"]
FIRST_BYTE_S = 12.0
PATIENCE_S = 45.0
WINDOW_S = 5.0
PHASE_S = 4.0
_WHOLE = "".join(WORDS)


@dataclass(slots=True)
class Heard:
    """What a client got of one call; seconds from its request."""

    text: str = ""
    reason: str | None = None
    error: str | None = None
    first_s: float | None = None
    total_s: float = 0.0
    id: str = ""
    cost: float | None = None


@dataclass(slots=True)
class Result:
    """Of one fault on one side, in one way."""

    side: str
    fault: str
    stream: bool
    grade: Grade
    first_s: float | None = None
    why: str = ""
    numbers: dict[str, float] = field(default_factory=dict)


def parser() -> argparse.ArgumentParser:
    parse = argparse.ArgumentParser("python -m benchmarks.failover", description=__doc__)
    parse.formatter_class = argparse.RawDescriptionHelpFormatter
    parse.add_argument("--json", type=Path, help="write what the table shows")
    parse.add_argument("--primary", choices=sorted(PRIMARY), default="openai")
    parse.add_argument("--side", choices=("both", "sentinella", "bare"), default="both")
    parse.add_argument("--flap-seconds", type=float, default=60.0)
    parse.add_argument("--only", help="faults whose name contains this")
    return parse


def main(arguments: Sequence[str] | None = None) -> int:
    given = parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended as well
    names = ("bare", "sentinella") if given.side == "both" else (given.side,)
    cases = [case for case in CASES if not given.only or given.only in case.name]
    date = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        results = run(names, given.primary, cases, given.flap_seconds)
    except BenchmarkFailed as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{date}, primary: {given.primary}\n\n{table(results, names)}")
    if given.json:
        rows = [asdict(result) for result in results]
        score = {name: scores(results, name) for name in names}
        report = {"date": date, "primary": given.primary, "scores": score, "results": rows}
        given.json.write_text(json.dumps(report, indent=2) + "\n")
    return 0


def run(names: Sequence[str], primary: str, cases: Sequence[Case], flap_s: float) -> list[Result]:
    with TemporaryDirectory(prefix="sentinella-failover-") as folder, ExitStack() as stack:
        compared = [stack.enter_context(opened(name, Path(folder), primary)) for name in names]
        with ThreadPoolExecutor(len(compared)) as pool:
            done = pool.map(lambda side: all_of(side, primary, cases, flap_s), compared)
            return [result for results in done for result in results]


def all_of(side: FailoverSide, primary: str, cases: Sequence[Case], flap_s: float) -> list[Result]:
    found: list[Result] = []
    with ThreadPoolExecutor(2) as pool:
        for case in cases:
            tell(side, "DELETE", "/_demo/rules")
            tell(side, "DELETE", "/_demo/requests")
            ways = [False, True] if case.whole else [True]
            found += pool.map(lambda stream, case=case: one(side, primary, case, stream, flap_s), ways)
            found += [] if case.whole else [Result(side.name, case.name, False, "-")]
            print(f"{side.name}: {case.name}", file=sys.stderr)
    return found


def one(side: FailoverSide, primary: str, case: Case, stream: bool, flap_s: float) -> Result:
    if case.kind == "flap":
        return flapping(side, primary, case, stream, flap_s)
    for rule in rules(case, primary, stream=stream):
        tell(side, "POST", "/_demo/rules", rule)
    heard = call(side, primary_of(case), stream)
    grade, why = judged(side, primary, case, stream, heard)
    return Result(side.name, case.name, stream, grade, heard.first_s, why)


def judged(side: FailoverSide, primary: str, case: Case, stream: bool, heard: Heard) -> tuple[Grade, str]:
    if case.kind == "filter":
        elsewhere = [r for r in asked(side, stream) if r["model"] != PRIMARY[primary]]
        if heard.error is None or elsewhere:
            return "fail", "routed round the filter"
        return "pass", heard.error
    if heard.total_s >= PATIENCE_S:
        return "fail", f"no end within {PATIENCE_S:g} s"
    if heard.error is not None:
        return "partial", heard.error
    if heard.text != _WHOLE or heard.reason != "stop":
        return "fail", f"{len(heard.text.split())} of 60 words, sold as `{heard.reason}`"
    if (heard.first_s or 0) > FIRST_BYTE_S:
        return "partial", "late"
    return right_cost(side, primary, heard) if case.kind == "cost" else ("pass", "")


def right_cost(side: FailoverSide, primary: str, heard: Heard) -> tuple[Grade, str]:
    provider, model = BACKUP[primary]
    cost = heard.cost
    deadline = time.monotonic() + 5
    while cost is None and time.monotonic() < deadline:
        time.sleep(0.1)
        cost = side.cost_of(heard.id)
    expected = price(f"{provider}/{model}")
    if cost is not None and abs(cost - expected) < 1e-9:
        return "pass", ""
    return "fail", f"{cost} USD instead of {expected}"


def price(model: str) -> float:
    """Of the 1,000 + 500 tokens that the demo upstream tells."""
    import litellm

    info: Any = litellm.get_model_info(model)
    return float(1_000 * info["input_cost_per_token"] + 500 * info["output_cost_per_token"])


def flapping(side: FailoverSide, primary: str, case: Case, stream: bool, seconds: float) -> Result:
    """Broken for four seconds, well for four, and so on. Each way has a primary of the same name but its own
    rules; what counts is how often the sick model was asked while it was sick, after it was found out."""
    rule = rules(case, primary, stream=stream)[-1]
    began, broken = time.monotonic(), None
    errors, slowest = 0, 0.0
    failed: list[float] = []
    while (elapsed := time.monotonic() - began) < seconds:
        now_broken = int(elapsed / PHASE_S) % 2 == 0
        if now_broken is not broken:
            broken = now_broken
            if not stream:  # one way switches for both
                tell(side, "DELETE", "/_demo/rules")
                if broken:
                    match = {"model": PRIMARY[primary]}
                    tell(side, "POST", "/_demo/rules", {"match": match, "fault": dict(case.fault)})
                tell(side, "POST", "/_demo/rules", {"match": {}, "reply": rule["reply"]})
        before = len(failures(side, primary, stream))
        heard = call(side, primary_of(case), stream)
        slowest = max(slowest, heard.first_s or 0)
        errors += heard.error is not None or heard.text != _WHOLE
        failed += [elapsed] * (len(failures(side, primary, stream)) - before)
        time.sleep(0.2)
    return _flapped(side, case, stream, failed, errors, slowest)


def _flapped(
    side: FailoverSide, case: Case, stream: bool, failed: list[float], errors: int, slowest: float
) -> Result:
    later = [moment for moment in failed if moment > PHASE_S]
    crowded = sum(after - before < WINDOW_S * 0.9 for before, after in pairwise(later))
    grade: Grade = "fail" if errors else "partial" if crowded else "pass"
    why = f"{len(failed)} failed attempts" + (f", {errors} failed answers" if errors else "")
    numbers: dict[str, float] = {
        "failed_attempts": len(failed),
        "failed_answers": errors,
        "too_soon": crowded,
    }
    return Result(side.name, case.name, stream, grade, slowest, why, numbers)


def failures(side: FailoverSide, primary: str, stream: bool) -> list[Any]:
    return [r for r in asked(side, stream) if r["model"] == PRIMARY[primary] and r["status"] == 500]


def asked(side: FailoverSide, stream: bool) -> list[Any]:
    found = ask(side.demo_port, "GET", "/_demo/requests?limit=1000").json()["requests"]
    return [request for request in found if request["stream"] == stream]


def tell(side: FailoverSide, method: str, path: str, body: object = None) -> None:
    answer = ask(side.demo_port, method, path, body)
    if answer.status >= 300:
        raise BenchmarkFailed(f"the demo upstream: {answer.body[:300]!r}")


def call(side: FailoverSide, model: str, stream: bool) -> Heard:
    """By OpenAI's own client, which is not patient for ever."""
    heard, began = Heard(), time.monotonic()
    url = f"http://127.0.0.1:{side.port}/v1"
    with openai.OpenAI(base_url=url, api_key=sides.MASTER, max_retries=0, timeout=PATIENCE_S) as client:
        create: Any = client.chat.completions.create
        try:
            answer = create(model=model, messages=[{"role": "user", "content": "Count."}], stream=stream)
            if stream:
                with closing(answer):
                    _listen(answer, heard, began)
            else:
                heard.first_s = time.monotonic() - began
                heard.text = answer.choices[0].message.content or ""
                heard.reason, heard.id = answer.choices[0].finish_reason, answer.id
                heard.cost = _told_cost(answer)
        except (openai.OpenAIError, httpx.HTTPError) as error:
            heard.error = f"{type(error).__name__}: {getattr(error, 'code', None) or str(error)[:60]}"
    heard.total_s = time.monotonic() - began
    return heard


def _listen(answer: Any, heard: Heard, began: float) -> None:
    for chunk in answer:
        heard.id = heard.id or chunk.id
        heard.cost = _told_cost(chunk)
        for choice in chunk.choices:
            if choice.delta.content:
                heard.first_s = heard.first_s or time.monotonic() - began
                heard.text += choice.delta.content
            heard.reason = choice.finish_reason or heard.reason
        if time.monotonic() - began > PATIENCE_S:
            return


def _told_cost(answer: Any) -> float | None:
    cost = ((answer.model_extra or {}).get("sentinella") or {}).get("cost_usd")
    return None if cost is None else float(cost)


def scores(results: Sequence[Result], side: str) -> dict[str, dict[str, int]]:
    ways = {"whole": False, "streamed": True}
    of_side = [result for result in results if result.side == side]
    return {
        way: {
            grade: sum(r.grade == grade for r in of_side if r.stream is stream)
            for grade in ("pass", "partial", "fail")
        }
        for way, stream in ways.items()
    }


def table(results: Sequence[Result], names: Sequence[str]) -> str:
    """In Markdown, with the seconds to the first byte."""
    heads = [f"{name}, {way}" for name in names for way in ("whole", "streamed")]
    lines = [f"| fault | {' | '.join(heads)} |", "|--|" + "--|" * len(heads)]
    by_place = {(r.fault, r.side, r.stream): r for r in results}
    for fault in dict.fromkeys(result.fault for result in results):
        cells = [_cell(by_place[fault, name, stream]) for name in names for stream in (False, True)]
        lines.append(f"| {fault} | {' | '.join(cells)} |")
    totals = [scores(results, name)[way] for name in names for way in ("whole", "streamed")]
    counted = (f"**{total['pass']} pass**, {total['partial']}, {total['fail']}" for total in totals)
    return "\n".join([*lines, f"| pass, partial, fail | {' | '.join(counted)} |"])


def _cell(result: Result) -> str:
    seconds = "" if result.first_s is None else f", {result.first_s:.1f} s"
    why = f" ({result.why})" if result.why and result.grade != "pass" else ""
    return result.grade + seconds + why


if __name__ == "__main__":
    sys.exit(main())
