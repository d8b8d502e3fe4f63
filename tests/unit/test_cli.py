from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from typer.testing import CliRunner, Result

from sentinella_plugins.cli.app import app

KEY = "sk-sen-shown-once"
LIMITS = (
    "requests_per_minute",
    "requests_per_hour",
    "requests_per_day",
    "tokens_per_minute",
    "cost_per_day_usd",
    "cost_per_month_usd",
    "max_concurrency",
)


@dataclass
class Gateway:
    """Speaks the contract and remembers what it was asked."""

    url: str = ""
    asked: list[tuple[str, str, dict[str, str], Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    tenants: dict[str, dict[str, Any]] = field(default_factory=dict)
    status: str = "healthy"

    async def answer(self, request: Request) -> Response:
        raw = await request.body()
        body = json.loads(raw) if raw else None
        self.asked.append(
            (request.method, request.scope["raw_path"].decode(), dict(request.query_params), body)
        )
        self.keys.append(request.headers.get("authorization", ""))
        if request.url.path == "/health":
            return JSONResponse({"status": self.status, "cache": "connected", "version": "0.1.0"})
        if not self.keys[-1].startswith("Bearer "):
            return error(401, "No valid API key was given.")
        handler: Callable[[Request, Any], Response] = getattr(self, request.scope["endpoint_name"])
        return handler(request, body)

    def tenant_list(self, request: Request, body: Any) -> Response:
        if request.method == "POST":
            if body["id"] in self.tenants:
                return error(409, f"There is a tenant `{body['id']}`\nalready.")
            limits = {**dict.fromkeys(LIMITS), **body.get("limits", {})}
            tenant = {
                "object": "tenant",
                "models": None,
                "created_at": 1_700_000_000,
                **body,
                "limits": limits,
            }
            self.tenants[body["id"]] = tenant
            return JSONResponse(tenant, 201)
        names = sorted(self.tenants)
        after = request.query_params.get("after", "")
        page = [self.tenants[name] for name in names if name > after]
        return JSONResponse({"object": "list", "data": page[:2], "has_more": len(page) > 2})

    def tenant(self, request: Request, body: Any) -> Response:
        found = self.tenants.get(request.path_params["id"])
        if found is None:
            return error(404, "There is no such tenant.")
        if request.method == "DELETE":
            del self.tenants[found["id"]]
            return JSONResponse({"id": found["id"], "object": "tenant.deleted", "deleted": True})
        for name, value in (body or {}).items():
            found[name] = {**found[name], **value} if name == "limits" else value
        return JSONResponse(found)

    def key_list(self, request: Request, body: Any) -> Response:
        shown = {
            "object": "tenant.key",
            "id": "key_1",
            "name": "ci",
            "role": "member",
            "hint": "sk-sen-...once",
        }
        if request.method == "POST":
            return JSONResponse({**shown, "key": KEY, "expires_at": (body or {}).get("expires_at")}, 201)
        return JSONResponse({"object": "list", "data": [shown], "has_more": False})

    def key(self, request: Request, body: Any) -> Response:
        return JSONResponse(
            {"id": request.path_params["key"], "object": "tenant.key.deleted", "deleted": True}
        )

    def usage(self, request: Request, body: Any) -> Response:
        if request.query_params.get("format") == "csv":
            return PlainTextResponse("day,requests\r\n2026-11-22,3\r\n", media_type="text/csv")
        sums = {"requests": 3, "errors": 1, "prompt_tokens": 5, "completion_tokens": 6, "cached_tokens": 0}
        row = {"object": "usage", "day": "2026-11-22", "model": "gpt-4o", **sums, "cost_usd": "0.0123"}
        return JSONResponse(
            {"object": "list", "data": [row], "total": {**sums, "cost_usd": "0.0123"}, "has_more": False}
        )

    def models(self, request: Request, body: Any) -> Response:
        return JSONResponse(
            {"object": "list", "data": [{"id": "[gpt]-4o", "owned_by": "openai"}], "has_more": False}
        )

    def chat(self, request: Request, body: Any) -> Response:
        if body["messages"][0]["content"] == "fail":
            return error(429, "A limit is reached.")
        if not body.get("stream"):
            return JSONResponse({"choices": [{"message": {"content": "Hello!"}}]})
        chunks: list[Any] = [{"choices": [{"delta": {"content": part}}]} for part in ("Hel", "lo!")]
        chunks.append({"choices": []})
        if body["messages"][0]["content"] == "break":
            chunks.append({"error": {"message": "The stream broke."}})
        lines = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks]
        return StreamingResponse(
            iter([": hi\n\n", *lines, "data: [DONE]\n\n"]), media_type="text/event-stream"
        )


def error(status: int, message: str) -> Response:
    return JSONResponse({"error": {"message": message, "type": "t", "param": None, "code": "c"}}, status)


ROUTES = {
    "/health": "health",
    "/v1/tenants": "tenant_list",
    "/v1/tenants/{id}": "tenant",
    "/v1/tenants/{id}/keys": "key_list",
    "/v1/tenants/{id}/keys/{key}": "key",
    "/v1/tenants/{id}/keys/{key}/rotate": "key_list",
    "/v1/usage": "usage",
    "/v1/models": "models",
    "/v1/chat/completions": "chat",
}


@pytest.fixture(scope="module")
def running() -> Iterator[Gateway]:
    gateway = Gateway()

    def route(path: str, name: str) -> Route:
        async def endpoint(request: Request) -> Response:
            request.scope["endpoint_name"] = name
            return await gateway.answer(request)

        return Route(path, endpoint, methods=["GET", "POST", "PATCH", "DELETE"])

    config = uvicorn.Config(
        Starlette(routes=[route(*pair) for pair in ROUTES.items()]), port=0, log_level="error"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    gateway.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    yield gateway
    server.should_exit = True
    thread.join()


@pytest.fixture
def gateway(running: Gateway) -> Gateway:
    running.asked.clear()
    running.keys.clear()
    running.tenants.clear()
    running.status = "healthy"
    return running


def run(
    gateway: Gateway, *arguments: str, env: dict[str, str] | None = None, say: str | None = None
) -> Result:
    clean = {name: "" for name in os.environ if name.startswith(("SENTINELLA_", "LITELLM_MASTER"))}
    given = {
        "SENTINELLA_URL": gateway.url,
        "LITELLM_MASTER_KEY": "sk-boss",
        "SENTINELLA_DATA_DIR": "/nowhere",
    }
    return CliRunner().invoke(app, arguments, env={**clean, **given, **(env or {})}, input=say)


def test_a_tenant_from_birth_to_death(gateway: Gateway) -> None:
    options = ["--name", "Acme Corp", "--model", "gpt-4o-mini", "--model", "claude-*"]
    limits = ["--requests-per-minute", "60", "--cost-per-day", "5.00", "--max-concurrency", "none"]
    made = run(gateway, "tenants", "create", "acme", *options, *limits)
    assert made.exit_code == 0, made.output
    assert gateway.asked[-1][3] == {
        "id": "acme",
        "name": "Acme Corp",
        "models": ["gpt-4o-mini", "claude-*"],
        "limits": {"requests_per_minute": 60, "cost_per_day_usd": "5.00", "max_concurrency": None},
    }
    assert "unlimited" in made.stdout
    changed = run(gateway, "tenants", "update", "acme", "--requests-per-hour", "9", "--all-models")
    assert changed.exit_code == 0
    assert gateway.asked[-1] == (
        "PATCH",
        "/v1/tenants/acme",
        {},
        {"limits": {"requests_per_hour": 9}, "models": None},
    )
    shown = run(gateway, "tenants", "show", "acme", "--json")
    assert json.loads(shown.stdout)["limits"]["requests_per_hour"] == 9
    assert run(gateway, "tenants", "delete", "acme", say="n\n").exit_code == 1
    assert "acme" in gateway.tenants
    assert run(gateway, "tenants", "delete", "acme", "--yes").stdout == "deleted acme\n"
    assert gateway.tenants == {}


def test_lists_are_whole(gateway: Gateway) -> None:
    gateway.tenants = {
        f"t{number}": {"id": f"t{number}", "name": "[bold]x", "limits": {}} for number in range(5)
    }
    listed = run(gateway, "tenants", "list")
    assert [row.split()[0] for row in listed.stdout.splitlines()] == ["id", "t0", "t1", "t2", "t3", "t4"]
    assert "[bold]x" in listed.stdout
    whole = json.loads(run(gateway, "tenants", "list", "--json").stdout)
    assert ([row["id"] for row in whole["data"]], whole["has_more"]) == (
        ["t0", "t1", "t2", "t3", "t4"],
        False,
    )


def test_a_key_is_shown_once(gateway: Gateway) -> None:
    made = run(
        gateway, "keys", "create", "acme", "--name", "ci", "--expires-in", "90d", "--tokens-per-minute", "7"
    )
    assert made.stdout.count(KEY) == 1
    assert made.stdout.splitlines()[-1] == KEY
    body = gateway.asked[-1][3]
    assert (body["name"], body["role"], body["limits"]) == ("ci", "member", {"tokens_per_minute": 7})
    assert abs(body["expires_at"] - time.time() - 90 * 86_400) < 60
    assert run(gateway, "keys", "create", "acme", "--quiet").stdout == KEY + "\n"
    assert run(gateway, "keys", "rotate", "acme", "key_1", "--grace", "1h", "-q").stdout == KEY + "\n"
    assert gateway.asked[-1] == ("POST", "/v1/tenants/acme/keys/key_1/rotate", {}, {"grace_s": 3600})
    assert "sk-sen-...once" in run(gateway, "keys", "list", "acme").stdout
    assert run(gateway, "keys", "revoke", "acme", "key_1").stdout == "revoked key_1\n"
    assert gateway.asked[-1][:2] == ("DELETE", "/v1/tenants/acme/keys/key_1")
    assert json.loads(run(gateway, "keys", "revoke", "acme", "key_1", "--json").stdout)["deleted"] is True


def test_names_cannot_leave_their_segment(gateway: Gateway) -> None:
    run(gateway, "tenants", "delete", "b?c#ü", "--yes")
    assert gateway.asked[-1][:3] == ("DELETE", "/v1/tenants/b%3Fc%23%C3%BC", {})
    for name in ("", ".", ".."):
        assert run(gateway, "tenants", "delete", name, "--yes").exit_code == 1
    assert len(gateway.asked) == 1


def test_usage(gateway: Gateway) -> None:
    shown = run(
        gateway,
        "usage",
        "--tenant",
        "acme",
        "--by",
        "day,model",
        "--since",
        "2026-11-01",
        "--until",
        "2026-11-30",
    )
    assert gateway.asked[-1][2] == {
        "tenant": "acme",
        "group_by": "day,model",
        "start": "2026-11-01",
        "end": "2026-11-30",
    }
    assert "gpt-4o" in shown.stdout
    assert shown.stdout.splitlines()[-1].split()[0] == "total"
    assert run(gateway, "usage", "--csv").stdout.splitlines() == ["day,requests", "2026-11-22,3"]
    assert json.loads(run(gateway, "usage", "--json").stdout)["total"]["cost_usd"] == "0.0123"


def test_models_and_chat_use_a_member_key(gateway: Gateway) -> None:
    assert "[gpt]-4o" in run(gateway, "models").stdout
    assert gateway.keys[-1] == "Bearer sk-boss"
    assert run(gateway, "chat", "Hi", env={"SENTINELLA_API_KEY": "sk-mine"}).stdout == "Hello!\n"
    assert gateway.keys[-1] == "Bearer sk-mine"
    assert run(gateway, "chat", "Hi", "--stream", "--model", "gpt-4o").stdout == "Hello!\n"
    assert gateway.asked[-1][3]["model"] == "gpt-4o"
    streamed = run(gateway, "chat", "Hi", "--stream", "--json").stdout.splitlines()
    assert [bool(json.loads(row)["choices"]) for row in streamed] == [True, True, False]
    broken = run(gateway, "chat", "break", "--stream")
    assert (broken.exit_code, broken.stderr.strip()) == (1, "The stream broke.")
    refused = run(gateway, "chat", "fail", "--stream")
    assert (refused.exit_code, refused.stderr) == (1, "A limit is reached.\n")


def test_health(gateway: Gateway) -> None:
    assert run(gateway, "health").exit_code == 0
    gateway.status = "degraded"
    ill = run(gateway, "health", "--json")
    assert (ill.exit_code, json.loads(ill.stdout)["status"]) == (1, "degraded")


def test_keys_of_the_data_directory(gateway: Gateway, tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text(json.dumps({"master_key": "sk-kept", "api_key": "sk-kept-member"}))
    env = {"LITELLM_MASTER_KEY": "", "SENTINELLA_DATA_DIR": str(tmp_path)}
    run(gateway, "tenants", "list", env=env)
    run(gateway, "models", env=env)
    run(gateway, "models", "--key", "sk-given", env=env)
    assert gateway.keys == ["Bearer sk-kept", "Bearer sk-kept-member", "Bearer sk-given"]


def test_errors_are_one_line(gateway: Gateway) -> None:
    run(gateway, "tenants", "create", "acme")
    twice = run(gateway, "tenants", "create", "acme", "--json")
    assert (twice.exit_code, twice.stdout, twice.stderr) == (1, "", "There is a tenant `acme` already.\n")
    nobody = run(gateway, "usage", env={"LITELLM_MASTER_KEY": ""})
    assert (nobody.exit_code, nobody.stderr) == (1, "No valid API key was given.\n")
    away = run(gateway, "health", "--url", "http://127.0.0.1:9")
    assert (away.exit_code, away.stderr.count("\n")) == (1, 1)
    assert "http://127.0.0.1:9" in away.stderr
    for wrong in ("nonsense", "http://[", "http://x:y", ""):
        assert run(gateway, "health", "--url", wrong).exit_code == (0 if wrong == "" else 1)
    assert run(gateway, "usage", "--key", "schlüssel").exit_code == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["tenants", "create"],
        ["tenants", "create", "acme", "--requests-per-minute", "many"],
        ["tenants", "update", "acme"],
        ["keys", "create", "acme", "--expires-in", "soon"],
        ["usage", "--nonsense"],
    ],
)
def test_wrong_usage_is_exit_code_2(gateway: Gateway, arguments: list[str]) -> None:
    assert run(gateway, *arguments).exit_code == 2
    assert gateway.asked == []


def test_help_is_quick_and_imports_little() -> None:
    code = "import sys; from sentinella_plugins.cli import main; sys.argv = ['sentinella', '--help']\n"
    code += "try: main()\nexcept SystemExit: sys.stderr.write(' '.join(sys.modules))"
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert time.monotonic() - started < 3.0, "0.6 s on a machine that does nothing else"
    assert "tenants" in done.stdout
    heavy = {"litellm", "httpx", "sqlalchemy", "fastapi", "pydantic", "uvicorn"}
    assert heavy.isdisjoint(done.stderr.split())
