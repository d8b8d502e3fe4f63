from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from starlette.requests import Request
from typer.testing import CliRunner, Result

from sentinella_plugins.cli.app import app
from sentinella_plugins.kernel.access import Guard
from sentinella_plugins.kernel.call import Principal
from sentinella_plugins.kernel.errors import SentinellaError
from sentinella_plugins.memory.routes import router
from tests.servers import free_port, wait_until
from tests.unit.memory.worker import opened


async def admin() -> Principal:
    return Principal(tenant="default", key_id="admin", role="admin")


def served(file: Path) -> FastAPI:
    """Routes of a room with two sessions of `acme`."""

    @asynccontextmanager
    async def life(api: FastAPI) -> AsyncIterator[None]:
        async with opened(f"sqlite:///{file}") as worker:
            for session in ("plans", "a/b"):
                await worker.say("where to go?", session=session)
            api.include_router(router(worker.service, Guard(member=admin, admin=admin, metrics=admin)))
            yield

    api = FastAPI(lifespan=life)

    @api.exception_handler(SentinellaError)
    async def failed(_request: Request, error: SentinellaError) -> JSONResponse:
        return JSONResponse({"error": {"message": error.message}}, error.status)

    return api


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    port = free_port()
    config = uvicorn.Config(served(tmp_path / "db.sqlite"), port=port, log_level="error", lifespan="on")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


def run(url: str, *arguments: str) -> Result:
    return CliRunner().invoke(
        app, ["sessions", *arguments, "--tenant", "acme", "--url", url, "--key", "sk-boss"]
    )


def test_sessions_listed_shown_exported_and_deleted(url: str, tmp_path: Path) -> None:
    assert "plans" in run(url, "list").stdout
    assert {one["id"] for one in json.loads(run(url, "list", "--json").stdout)["data"]} == {"plans", "a/b"}
    shown = run(url, "show", "a/b").stdout
    assert "where to go?" in shown and "re: where to go?" in shown
    assert len(run(url, "export", "plans").stdout.splitlines()) == 3
    file = tmp_path / "plans.json"
    assert run(url, "export", "plans", "--format", "json", "-o", str(file)).exit_code == 0
    assert len(json.loads(file.read_text())["data"]) == 2
    assert run(url, "delete", "plans").stdout.strip() == "deleted plans"
    gone = run(url, "show", "plans")
    assert gone.exit_code == 1 and "no such session" in gone.stderr
    assert run(url, "delete").exit_code == 2
    assert run(url, "delete", "--all", "--yes").stdout.strip() == "deleted 1"
