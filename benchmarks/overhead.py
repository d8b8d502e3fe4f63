"""What Sentinella costs over bare LiteLLM on the same calls: `python -m benchmarks.overhead --json FILE`."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import sides
from benchmarks.load import require_wrk
from benchmarks.measure import Plan, measured, warmed
from benchmarks.processes import BenchmarkFailed, Server
from benchmarks.report import Result, collected, table
from benchmarks.sides import Readiness, Side


def parser() -> argparse.ArgumentParser:
    parse = argparse.ArgumentParser("python -m benchmarks.overhead", description=__doc__)
    parse.add_argument("--json", type=Path, help="write what the table shows")
    parse.add_argument("--seconds", type=float, default=4.0, help="length of one measurement of one side")
    parse.add_argument("--rounds", type=int, default=3, help="how often each side is measured, in turn")
    parse.add_argument("--concurrency", type=int, default=16)
    parse.add_argument("--starts", type=int, default=2, help="timed starts of each side")
    return parse


def main(arguments: Sequence[str] | None = None) -> int:
    given = parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended as well
    try:
        require_wrk()
        result = run(Plan(given.seconds, given.rounds, given.concurrency), given.starts)
    except BenchmarkFailed as error:
        print(error, file=sys.stderr)
        return 1
    print(table(result))
    if given.json:
        given.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0


def run(plan: Plan, starts: int) -> Result:
    with TemporaryDirectory(prefix="sentinella-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        demo = stack.enter_context(sides.demo(folder))
        demo.seconds_until("GET", "/health")
        sides.teach(demo.port)
        url = f"http://127.0.0.1:{demo.port}"
        readiness = timed_starts(folder, url, starts)
        compared = opened(stack, folder, url)
        load_before = os.getloadavg()[0]
        warmed(compared, plan)
        rows = measured(compared, plan)
        memory = {side.name: side.server.rss_mib() for side in compared[:2]}
        return collected(plan, rows, readiness, memory, load_before)


def timed_starts(folder: Path, url: str, starts: int) -> dict[str, list[Readiness]]:
    found: dict[str, list[Readiness]] = {"bare": [], "sentinella": []}
    for turn in range(starts + 1):
        for server, health in pair(folder, url):
            with server:
                ready = sides.timed_start(server, health)
            if turn:
                found[server.name].append(ready)
    return found


def pair(folder: Path, url: str) -> tuple[tuple[Server, str], tuple[Server, str]]:
    return (sides.bare(folder, url), "/health/liveliness"), (sides.sentinella(folder, url), "/health")


def opened(stack: ExitStack, folder: Path, url: str) -> tuple[Side, ...]:
    for server, health in (both := pair(folder, url)):
        stack.enter_context(server)
        sides.timed_start(server, health)
    limited = sides.limited_side(both[1][0])
    return sides.bare_side(both[0][0]), limited, sides.unlimited_side(limited)


if __name__ == "__main__":
    sys.exit(main())
