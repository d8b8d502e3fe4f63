"""The cache over HTTP and at the command line."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from typer.testing import CliRunner

from sentinella_plugins.cache.routes import router
from sentinella_plugins.cli.app import app
from sentinella_plugins.kernel.access import Guard
from sentinella_plugins.kernel.call import Principal
from sentinella_plugins.kernel.errors import SentinellaError
from tests.servers import free_port, wait_until
from tests.unit.cache.parts import call, success, worker

QUESTIONS = ["What is the capital of France?", "How do whales sleep?", "Who wrote Hamlet?"]


async def who(request: Request) -> Principal:
    role = "admin" if "boss" in request.headers.get("authorization", "") else "member"
    return Principal(tenant="acme", key_id="key_1", role=role)  # type: ignore[arg-type]


def served(folder: Path) -> FastAPI:
    """Three entries of `acme` and one of `other`."""

    @asynccontextmanager
    async def life(api: FastAPI) -> AsyncIterator[None]:
        async with worker(folder) as one:
            for number, question in enumerate(QUESTIONS):
                await one.ask(
                    call(question, metadata={"cache_tags": f"t{number}"}), success(model=f"m{number}")
                )
            await one.ask(call(QUESTIONS[0]))
            await one.ask(call(QUESTIONS[0], tenant="other"))
            await one.ask(call("What is the weather?"))
            api.include_router(router(one.service, Guard(member=who, admin=who, metrics=who)))
            yield

    api = FastAPI(lifespan=life)

    @api.exception_handler(SentinellaError)
    async def failed(_request: Request, error: SentinellaError) -> JSONResponse:
        return JSONResponse({"error": {"message": error.message}}, error.status)

    return api


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(served(tmp_path), port=port, log_level="error", lifespan="on"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture
def client(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url) as opened:
        yield opened


BOSS = {"authorization": "Bearer boss"}


def test_stats(client: httpx.Client) -> None:
    told = client.get("/v1/cache").json()
    assert told["object"] == "cache" and told["tenant"] == "acme"
    assert (told["entries"], told["misses"], told["hits"]) == (3, 3, {"exact": 1, "semantic": 0})
    assert (told["hit_rate"], told["saved_usd"]) == (0.25, "0.0000005")
    assert told["bypassed"] == {"time": 1}
    assert told["errors"] == {
        "checked": 0,
        "wrong": 0,
        "rate": None,
        "low": None,
        "high": None,
        "bar": 0.9,
    }
    assert client.get("/v1/cache?tenant=other").status_code == 403
    assert client.get("/v1/cache?tenant=other", headers=BOSS).json()["entries"] == 1
    assert client.get("/v1/cache?tenant=No%20such", headers=BOSS).status_code == 400


def test_entries(client: httpx.Client) -> None:
    first = client.get("/v1/cache/entries?limit=2").json()
    assert (first["object"], len(first["data"]), first["has_more"]) == ("list", 2, True)
    rest = client.get("/v1/cache/entries", params={"after": first["data"][-1]["id"]}).json()
    assert (len(rest["data"]), rest["has_more"]) == (1, False)
    entries = {entry["question"]: entry for entry in first["data"] + rest["data"]}
    assert set(entries) == set(QUESTIONS)
    hamlet = entries["Who wrote Hamlet?"]
    assert (hamlet["model"], hamlet["tags"], hamlet["cost_usd"]) == ("m2", ["t2"], "0.0000005")
    assert 0.9 <= hamlet["threshold"] <= 0.95


@pytest.mark.parametrize(
    ("what", "dropped"),
    [
        ({"tag": "t1"}, 1),
        ({"model": "m0"}, 1),
        ({"model": "m0", "tag": "t1"}, 0),
        ({"similar_to": "capital city of France", "threshold": 0.7}, 1),
        ({"older_than_s": 0}, 0),
        ({"id": "ce_unknown"}, 0),
    ],
)
def test_invalidation(client: httpx.Client, what: dict[str, Any], dropped: int) -> None:
    assert client.post("/v1/cache/invalidate", json=what).json() == {"invalidated": dropped}
    assert client.get("/v1/cache").json()["entries"] == 3 - dropped
    assert client.get("/v1/cache?tenant=other", headers=BOSS).json()["entries"] == 1


@pytest.mark.parametrize("what", [{}, {"threshold": 0.5}, {"older_than_s": -1}, {"tags": "a"}, {"tag": ""}])
def test_malformed_conditions(client: httpx.Client, what: dict[str, Any]) -> None:
    assert client.post("/v1/cache/invalidate", json=what).status_code == 422


def test_clearing(client: httpx.Client) -> None:
    assert client.delete("/v1/cache").json() == {"invalidated": 3}
    assert client.delete("/v1/cache?tenant=other").status_code == 403
    assert client.delete("/v1/cache?tenant=other", headers=BOSS).json() == {"invalidated": 1}


def test_at_the_command_line(url: str) -> None:
    def run(*arguments: str) -> Any:
        return CliRunner().invoke(app, ["cache", *arguments, "--url", url, "--key", "boss"])

    shown = run("stats")
    assert shown.exit_code == 0 and "none checked yet" in shown.stdout and "time 1" in shown.stdout
    assert json.loads(run("stats", "--json").stdout)["entries"] == 3
    assert run("invalidate", "--tag", "t1").stdout == "dropped 1\n"
    assert (
        run("invalidate", "--similar-to", "capital city of France", "--threshold", "0.7").stdout
        == "dropped 1\n"
    )
    assert run("invalidate").exit_code == 2
    assert run("invalidate", "--all", "--tag", "x").exit_code == 2
    assert json.loads(run("invalidate", "--all", "--json").stdout) == {"invalidated": 1}
    assert run("invalidate", "--all", "--tenant", "other").stdout == "dropped 1\n"
