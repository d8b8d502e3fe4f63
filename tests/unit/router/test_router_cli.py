"""`sentinella router`, against a real gateway's routes on a free port."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from fastapi import FastAPI
from typer.testing import CliRunner, Result

from sentinella_plugins.cli.router import app
from sentinella_plugins.kernel.access import Guard
from sentinella_plugins.kernel.call import Call, Principal
from sentinella_plugins.kernel.clock import SystemClock
from sentinella_plugins.router.config import RouterConfig
from sentinella_plugins.router.models import Policy
from sentinella_plugins.router.routes import router
from sentinella_plugins.router.service import RouterService
from tests.servers import free_port
from tests.unit.router.parts import ANY, LARGE, SMALL, Shelf


async def member() -> Principal:
    return Principal(tenant="acme", key_id="k", role="admin")


async def policy(_call: Call) -> Policy:
    return ANY


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    api, port = FastAPI(), free_port()
    guard = Guard(member=member, admin=member, metrics=member)
    api.include_router(router(RouterService(Shelf(), RouterConfig()), guard, policy, SystemClock()))
    server = uvicorn.Server(uvicorn.Config(api, port=port, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


def run(url: str, *arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments, "--url", url, "--key", "sk-x"])


def test_a_prompt_is_explained(url: str) -> None:
    shown = run(url, "explain", "Write a poem about the sea.", "--objective", "best")
    assert shown.exit_code == 0, shown.output
    assert LARGE.name in shown.output and "writing" in shown.output and SMALL.name in shown.output
    raw = json.loads(run(url, "explain", "Write a poem.", "--max-cost", "0.001", "--json").stdout)
    assert raw["bounds"] == {"max_cost_usd": 0.001}


def test_either_a_prompt_or_a_request(url: str) -> None:
    assert run(url, "explain").exit_code == 2
    assert run(url, "explain", "x", "--request-id", "y").exit_code == 2


@pytest.mark.parametrize(
    "write",
    [
        lambda rows: json.dumps(rows),
        lambda rows: json.dumps({"rows": rows}),
        lambda rows: "\n".join(map(json.dumps, rows)),
    ],
)
def test_results_are_sent(url: str, tmp_path: Path, write: object) -> None:
    rows = [{"prompt": f"{n}", "model": SMALL.name, "score": 0.5, "latency": n} for n in range(3)]
    file = tmp_path / "results.json"
    file.write_text(write([*rows, {"prompt": "x", "model": "nobody", "score": 1}]))  # type: ignore[operator]
    shown = run(url, "calibrate", "--results", str(file))
    assert shown.exit_code == 0 and SMALL.name in shown.output and "nobody" in shown.output
    assert SMALL.name in run(url, "stats", "--json").output


def test_a_file_without_rows_is_named(url: str, tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    file.write_text('[{"prompt": "x"}]')
    shown = run(url, "calibrate", "--results", str(file))
    assert shown.exit_code == 1 and "results.json" in shown.output


def test_stats_are_shown(url: str) -> None:
    shown = run(url, "stats")
    assert shown.exit_code == 0 and "heuristic" in shown.output and "learned" in shown.output
