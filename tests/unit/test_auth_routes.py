from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy import insert

from sentinella_plugins.auth.config import AuthConfig
from sentinella_plugins.auth.routes import router
from sentinella_plugins.auth.service import AuthService
from sentinella_plugins.kernel.access import Guard
from sentinella_plugins.kernel.call import Principal
from sentinella_plugins.kernel.clock import ManualClock
from sentinella_plugins.kernel.errors import Forbidden, SentinellaError
from sentinella_plugins.kernel.secrets import Secret
from sentinella_plugins.storage.database import Database
from sentinella_plugins.storage.tables import tenants

KEYS = "/v1/tenants/acme/keys"
ADMIN = {"x-api-key": "the-master-key"}


def guard(service: AuthService) -> Guard:
    async def member(request: Request) -> Principal:
        return await service.authenticate(request.headers.get("x-api-key"))

    async def admin(request: Request) -> Principal:
        principal = await member(request)
        if principal.role != "admin":
            raise Forbidden
        return principal

    return Guard(member=member, admin=admin, metrics=admin)


def street(service: AuthService) -> FastAPI:
    app = FastAPI()
    app.include_router(router(service, guard(service)))

    @app.exception_handler(SentinellaError)
    async def refuse(_request: Request, error: SentinellaError) -> JSONResponse:
        return JSONResponse({"error": {"code": error.code, "message": error.message}}, error.status)

    @app.exception_handler(RequestValidationError)
    async def explain(_request: Request, error: RequestValidationError) -> JSONResponse:
        return JSONResponse({"error": {"param": str(error.errors()[0]["loc"][-1])}}, 400)

    return app


@asynccontextmanager
async def client(folder: Path) -> AsyncIterator[httpx.AsyncClient]:
    clock = ManualClock()
    database = Database(f"sqlite:///{folder / 'auth.db'}", clock=clock)
    await database.open()
    row = {"id": "acme", "document": "{}", "created_at": 0.0, "updated_at": 0.0}
    await database.write(lambda connection: connection.execute(insert(tenants), row).close())
    service = AuthService(database, clock, AuthConfig(), {"admin": Secret("the-master-key")})
    transport = httpx.ASGITransport(street(service))
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway", headers=ADMIN) as http:
            yield http
        await service.close()
    finally:
        await database.close()


@pytest.mark.asyncio
async def test_a_key_is_shown_once(tmp_path: Path) -> None:
    async with client(tmp_path) as http:
        made = await http.post(KEYS, json={"name": "ci", "models": None, "limits": None, "expires_at": None})
        assert made.status_code == 201
        body = made.json()
        key = body.pop("key")
        assert key.startswith("sk-sen-")
        assert body["object"] == "tenant.key"
        assert body["id"].startswith("key_")
        assert (body["name"], body["role"], body["tenant"]) == ("ci", "member", "acme")
        assert set(body["limits"].values()) == {None}
        shown = await http.get(f"{KEYS}/{body['id']}")
        assert shown.json() == body
        listed = await http.get(KEYS)
        assert listed.json() == {"object": "list", "data": [body], "has_more": False}
        assert key not in shown.text + listed.text


@pytest.mark.asyncio
async def test_limits_are_shown_as_they_were_given(tmp_path: Path) -> None:
    async with client(tmp_path) as http:
        limits = {"requests_per_minute": 60, "cost_per_day_usd": "5.00"}
        body = (await http.post(KEYS, json={"name": "ci", "models": ["claude-*"], "limits": limits})).json()
        assert body["limits"]["cost_per_day_usd"] == "5.00"
        assert body["limits"]["requests_per_minute"] == 60
        assert body["models"] == ["claude-*"]


@pytest.mark.asyncio
async def test_rotation_and_deletion(tmp_path: Path) -> None:
    async with client(tmp_path) as http:
        old = (await http.post(KEYS, json={"name": "ci", "role": "admin"})).json()
        rotated = await http.post(f"{KEYS}/{old['id']}/rotate", json={"grace_s": 0})
        new = rotated.json()
        assert (rotated.status_code, new["replaces"], new["role"]) == (201, old["id"], "admin")
        assert (await http.get(KEYS, headers={"x-api-key": old["key"]})).status_code == 401
        assert (await http.get(KEYS, headers={"x-api-key": new["key"]})).status_code == 200
        gone = await http.delete(f"{KEYS}/{new['id']}")
        assert gone.json() == {"id": new["id"], "object": "tenant.key.deleted", "deleted": True}
        assert (await http.get(KEYS, headers={"x-api-key": new["key"]})).status_code == 401
        for answer in (await http.get(f"{KEYS}/{new['id']}"), await http.delete(f"{KEYS}/{new['id']}")):
            assert answer.status_code == 404
        assert (await http.get(KEYS)).json()["data"] == []


@pytest.mark.asyncio
async def test_rotation_needs_no_body(tmp_path: Path) -> None:
    async with client(tmp_path) as http:
        old = (await http.post(KEYS, json={"name": "ci"})).json()
        assert (await http.post(f"{KEYS}/{old['id']}/rotate")).status_code == 201


@pytest.mark.asyncio
async def test_every_route_is_the_administrators(tmp_path: Path) -> None:
    async with client(tmp_path) as http:
        member = (await http.post(KEYS, json={"name": "ci"})).json()
        routes = [("POST", ""), ("GET", ""), ("GET", "/k"), ("DELETE", "/k"), ("POST", "/k/rotate")]
        for method, path in routes:
            for headers, status in (({"x-api-key": ""}, 401), ({"x-api-key": member["key"]}, 403)):
                assert (await http.request(method, KEYS + path, headers=headers)).status_code == status


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "a\u0000b"}, "name"),
        ({"name": "x" * 129}, "name"),
        ({"name": "ci", "role": "owner"}, "role"),
        ({"name": "ci", "models": ["x"] * 201}, "models"),
        ({"name": "ci", "limits": {"requests_per_minute": -1}}, "requests_per_minute"),
        ({"name": "ci", "expires_at": 10**15}, "expires_at"),
        ({"name": "ci", "id": "mine"}, "id"),
    ],
)
async def test_malformed_keys_are_refused(tmp_path: Path, body: dict[str, object], param: str) -> None:
    async with client(tmp_path) as http:
        answer = await http.post(KEYS, json=body)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


@pytest.mark.asyncio
async def test_odd_paths_and_cursors(tmp_path: Path) -> None:
    async with client(tmp_path) as http:
        assert (await http.post("/v1/tenants/nobody/keys", json={"name": "ci"})).status_code == 404
        assert (await http.get("/v1/tenants/a%00/keys")).status_code == 404
        assert (await http.get(f"{KEYS}/key_%00")).status_code == 404
        for query in ({"limit": 0}, {"limit": 101}, {"after": "\0"}):
            assert (await http.get(KEYS, params=query)).status_code == 400
        assert (await http.get(KEYS, params={"after": "zzz"})).json()["data"] == []
        surrogate = await http.post(KEYS, content=b'{"name": "\\ud800"}')
        assert surrogate.status_code in (400, 415)
