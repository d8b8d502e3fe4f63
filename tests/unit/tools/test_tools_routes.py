from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from sentinella_plugins.kernel.access import Guard
from sentinella_plugins.kernel.call import Principal
from sentinella_plugins.kernel.errors import SentinellaError
from sentinella_plugins.tools.routes import router
from tests import wild_servers as ws
from tests.unit.tools.conftest import ACME, OTHER, House

pytestmark = pytest.mark.asyncio
WEATHER = {
    "name": "weather",
    "description": "The weather of a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    "url": "https://tool.test/v1/{city}",
    "headers": {"Authorization": {"secret": "Bearer top-secret"}, "X-Plain": "shown"},
}


@asynccontextmanager
async def street(house: House) -> AsyncIterator[httpx.AsyncClient]:
    async def member(request: Request) -> Principal:
        return {"acme": ACME, "other": OTHER}[request.headers["x-api-key"]]

    app = FastAPI()
    app.include_router(router(house.service, Guard(member=member, admin=member, metrics=member)))

    @app.exception_handler(SentinellaError)
    async def refuse(_request: Request, error: SentinellaError) -> JSONResponse:
        return JSONResponse({"error": {"code": error.code, "param": error.param}}, error.status)

    @app.exception_handler(RequestValidationError)
    async def explain(_request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        return JSONResponse({"error": {"loc": list(first["loc"]), "msg": first["msg"]}}, 400)

    transport = httpx.ASGITransport(app)
    headers = {"x-api-key": "acme"}
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway", headers=headers) as http:
        yield http


async def test_a_tools_life(house_of: Any) -> None:
    async with house_of() as house, street(house) as http:
        made = await http.post("/v1/tools", json=WEATHER)
        assert made.status_code == 201
        body = made.json()
        assert (body["id"], body["object"], body["scope"], body["kind"]) == (
            "weather",
            "tool",
            "tenant",
            "http",
        )
        assert body["headers"] == {"Authorization": {"secret": None}, "X-Plain": "shown"}
        assert body["created_at"] == body["updated_at"] > 1_700_000_000
        assert (await http.get("/v1/tools/weather")).json() == body
        assert (await http.get("/v1/tools")).json() == {"object": "list", "data": [body], "has_more": False}
        again = await http.post("/v1/tools", json=WEATHER)
        assert (again.status_code, again.json()["error"]["code"]) == (409, "tool_exists")
        changed = await http.put(
            "/v1/tools/weather", json={**WEATHER, "headers": body["headers"], "method": "POST"}
        )
        assert (changed.status_code, changed.json()["version"], changed.json()["method"]) == (200, 2, "POST")
        gone = await http.delete("/v1/tools/weather")
        assert gone.json() == {"id": "weather", "object": "tool.deleted", "deleted": True}
        for answer in (await http.get("/v1/tools/weather"), await http.delete("/v1/tools/weather")):
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "tool_not_found")


async def test_one_tenant_never_sees_anothers(house_of: Any) -> None:
    async with house_of() as house, street(house) as http:
        await http.post("/v1/tools", json=WEATHER)
        other = {"x-api-key": "other"}
        assert (await http.get("/v1/tools", headers=other)).json()["data"] == []
        for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/test")):
            answer = await http.request(method, f"/v1/tools/weather{path}", headers=other)
            assert answer.status_code == 404
        assert (await http.put("/v1/tools/weather", json=WEATHER, headers=other)).status_code == 404


async def test_pages(house_of: Any) -> None:
    async with house_of() as house, street(house) as http:
        for name in ("c", "a", "b", "B"):
            await http.post("/v1/tools", json={"name": name, "url": "https://tool.test/"})
        first = (await http.get("/v1/tools", params={"limit": 2})).json()
        assert ([tool["id"] for tool in first["data"]], first["has_more"]) == (["B", "a"], True)
        second = (await http.get("/v1/tools", params={"limit": 2, "after": "a"})).json()
        assert ([tool["id"] for tool in second["data"]], second["has_more"]) == (["b", "c"], False)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": "x"},
        {"name": "x", "url": "nope"},
        {"name": "x y", "url": "https://tool.test/"},
        {"name": "x", "url": "https://tool.test/", "kind": "python", "function": "os:system"},
        {"name": "x", "kind": "python", "function": "os:system"},
        {"name": "x", "kind": "mcp_command", "command": ["sh"]},
        {"name": "x", "kind": "mcp", "command": ["sh"]},
        {"name": "x", "kind": ["mcp"], "url": "https://tool.test/"},
        {"name": "x", "url": "https://tool.test/", "headers": {"X": {"secret": "top-secret\n"}}},
        {"name": "x", "url": "https://tool.test/", "timeout_s": "top-secret"},
        [],
    ],
)
async def test_malformed_tools(house_of: Any, body: Any) -> None:
    async with house_of() as house, street(house) as http:
        answer = await http.post("/v1/tools", json=body)
        assert answer.status_code == 400 and "top-secret" not in answer.text


async def test_a_run_by_hand(house_of: Any) -> None:
    async with ws.wild() as server, house_of() as house, street(house) as http:
        server.paths["/v1/Rom"] = ws.says('{"auth": "Bearer top-secret"}')
        await http.post("/v1/tools", json={**WEATHER, "url": server.url("/v1/{city}")})
        good = (await http.post("/v1/tools/weather/test", json={"arguments": {"city": "Rom"}})).json()
        assert good.pop("ms") > 0
        assert good == {
            "object": "tool.result",
            "name": "weather",
            "ok": True,
            "content": '{"auth": "[secret]"}',
            "error": None,
            "functions": None,
        }
        bad = (await http.post("/v1/tools/weather/test")).json()
        assert (bad["ok"], bad["error"]) == (False, "invalid_arguments")
        assert (await http.post("/v1/tools/nobody/test")).status_code == 404
