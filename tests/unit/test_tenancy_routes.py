from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from sentinella_plugins.auth.config import AuthConfig
from sentinella_plugins.auth.routes import router as keys_router
from sentinella_plugins.auth.service import AuthService
from sentinella_plugins.kernel.access import Guard
from sentinella_plugins.kernel.call import Json, Principal, Usage
from sentinella_plugins.kernel.catalogue import ModelCard
from sentinella_plugins.kernel.clock import ManualClock
from sentinella_plugins.kernel.errors import Forbidden, SentinellaError
from sentinella_plugins.kernel.events import Events
from sentinella_plugins.kernel.money import Nano
from sentinella_plugins.kernel.secrets import Secret
from sentinella_plugins.storage.counters_memory import MemoryCounters
from sentinella_plugins.storage.database import Database
from sentinella_plugins.tenancy.config import TenancyConfig
from sentinella_plugins.tenancy.routes import router
from sentinella_plugins.tenancy.service import TenancyService

WISHES = {"providers": [], "exclude": [], "objective": "balanced", "fallbacks": {}, "stream_recovery": None}

ADMIN = {"x-api-key": "the-master-key"}
ACME = {
    "id": "acme",
    "name": "Acme Corp",
    "limits": {
        "requests_per_minute": 60,
        "requests_per_hour": 1000,
        "requests_per_day": 10000,
        "tokens_per_minute": None,
        "cost_per_day_usd": "5.00",
        "cost_per_month_usd": "100.00",
        "max_concurrency": 20,
    },
    "models": ["gpt-4o-mini", "claude-*"],
    "preferences": {**WISHES, "providers": ["openai"]},
    "alerts": {"cost_fractions": [0.5, 0.8, 1.0]},
    "metadata": {},
}


class NoModels:
    def cards(self) -> Sequence[ModelCard]:
        return ()

    def find(self, name: str) -> ModelCard | None:
        return None

    async def count_prompt(self, model: str, body: Json) -> int:
        return 0

    def cost(self, model: str, usage: Usage) -> Nano:
        return Nano(0)


def guard(auth: AuthService) -> Guard:
    async def admin(request: Request) -> Principal:
        principal = await auth.authenticate(request.headers.get("x-api-key"))
        if principal.role != "admin":
            raise Forbidden
        return principal

    return Guard(member=admin, admin=admin, metrics=admin)


def street(tenancy: TenancyService, auth: AuthService) -> FastAPI:
    app = FastAPI()
    app.include_router(router(tenancy, guard(auth)))
    app.include_router(keys_router(auth, guard(auth)))

    @app.exception_handler(SentinellaError)
    async def refuse(_request: Request, error: SentinellaError) -> JSONResponse:
        return JSONResponse({"error": {"code": error.code, "message": error.message}}, error.status)

    @app.exception_handler(RequestValidationError)
    async def explain(_request: Request, error: RequestValidationError) -> JSONResponse:
        return JSONResponse({"error": {"param": str(error.errors()[0]["loc"][-1])}}, 400)

    return app


@asynccontextmanager
async def client(folder: Path) -> AsyncIterator[httpx.AsyncClient]:
    clock = ManualClock(1_700_000_000.75)
    database = Database(f"sqlite:///{folder / 'tenancy.db'}", clock=clock)
    await database.open()
    tenancy = TenancyService(database, MemoryCounters(clock), NoModels(), Events(), clock, TenancyConfig())
    auth = AuthService(
        database,
        clock,
        AuthConfig(),
        {"admin": Secret("the-master-key"), "member": Secret("the-default-key")},
    )
    transport = httpx.ASGITransport(street(tenancy, auth))
    try:
        await tenancy.open()
        await tenancy.open()
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway", headers=ADMIN) as http:
            yield http
        await auth.close()
    finally:
        await database.close()


@pytest.mark.asyncio
async def test_a_tenant_comes_back_as_it_was_made(tmp_path: Path) -> None:
    async with client(tmp_path) as http:
        made = await http.post("/v1/tenants", json=ACME)
        assert made.status_code == 201
        assert made.json() == {**ACME, "object": "tenant", "created_at": 1_700_000_000}
        assert (await http.get("/v1/tenants/acme")).json() == made.json()
        again = await http.post("/v1/tenants", json=ACME)
        assert (again.status_code, again.json()["error"]["code"]) == (409, "conflict")


@pytest.mark.asyncio
async def test_an_id_is_enough_and_null_is_the_default(tmp_path: Path) -> None:
    async with client(tmp_path) as http:
        short = (await http.post("/v1/tenants", json={"id": "a"})).json()
        nulls = dict.fromkeys(("name", "limits", "models", "preferences", "alerts", "metadata"))
        long = (await http.post("/v1/tenants", json={"id": "b", **nulls})).json()
        assert short["name"] == "a"
        assert set(short["limits"].values()) == {None}
        assert {**short, "id": "b", "name": "b"} == long


@pytest.mark.asyncio
async def test_a_patch_changes_what_it_names(tmp_path: Path) -> None:
    async with client(tmp_path) as http:
        before = (await http.post("/v1/tenants", json={**ACME, "metadata": {"plan": "a", "seats": 3}})).json()
        limits = {"requests_per_minute": 10, "cost_per_day_usd": None}
        patch = {
            "limits": limits,
            "preferences": {"objective": "best"},
            "metadata": {"plan": None, "owner": "x"},
        }
        after = (await http.patch("/v1/tenants/acme", json=patch)).json()
        assert after == {
            **before,
            "limits": {**before["limits"], **limits},
            "preferences": {**before["preferences"], "objective": "best"},
            "metadata": {"seats": 3, "owner": "x"},
        }
        assert (await http.get("/v1/tenants/acme")).json() == after
        assert (await http.patch("/v1/tenants/acme", json={})).json() == after
        nulls = {"limits": None, "models": None, "preferences": None, "metadata": None, "name": None}
        bare = (await http.patch("/v1/tenants/acme", json=nulls)).json()
        assert bare["models"] is None
        assert bare["name"] == "acme"
        assert set(bare["limits"].values()) == {None}
        assert bare["preferences"] == WISHES
        assert bare["metadata"] == {}


@pytest.mark.asyncio
async def test_metadata_stays_bounded_over_many_patches(tmp_path: Path) -> None:
    async with client(tmp_path) as http:
        await http.post("/v1/tenants", json={"id": "acme", "metadata": {f"a{n}": n for n in range(40)}})
        answer = await http.patch("/v1/tenants/acme", json={"metadata": {f"b{n}": n for n in range(40)}})
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "unprocessable")


@pytest.mark.asyncio
async def test_the_built_in_tenant_stays(tmp_path: Path) -> None:
    async with client(tmp_path) as http:
        assert (await http.delete("/v1/tenants/default")).status_code == 409
        assert (await http.get("/v1/tenants/default")).json()["id"] == "default"


@pytest.mark.asyncio
async def test_a_deleted_tenant_takes_its_keys_along(tmp_path: Path) -> None:
    async with client(tmp_path) as http:
        await http.post("/v1/tenants", json=ACME)
        key = (await http.post("/v1/tenants/acme/keys", json={"name": "ci", "role": "admin"})).json()["key"]
        gone = await http.delete("/v1/tenants/acme")
        assert gone.json() == {"id": "acme", "object": "tenant.deleted", "deleted": True}
        assert (await http.get("/v1/tenants", headers={"x-api-key": key})).status_code == 401
        for answer in (await http.get("/v1/tenants/acme"), await http.delete("/v1/tenants/acme")):
            assert answer.status_code == 404
        assert (await http.patch("/v1/tenants/acme", json={})).status_code == 404


@pytest.mark.asyncio
async def test_pages(tmp_path: Path) -> None:
    async with client(tmp_path) as http:
        for name in "cab":
            await http.post("/v1/tenants", json={"id": name})
        first = (await http.get("/v1/tenants", params={"limit": 3})).json()
        rest = (await http.get("/v1/tenants", params={"limit": 3, "after": "c"})).json()
        assert (first["object"], first["has_more"], rest["has_more"]) == ("list", True, False)
        assert [tenant["id"] for tenant in first["data"] + rest["data"]] == ["a", "b", "c", "default"]


@pytest.mark.asyncio
async def test_every_route_is_the_administrators(tmp_path: Path) -> None:
    async with client(tmp_path) as http:
        for method, path in (("POST", ""), ("GET", ""), ("GET", "/a"), ("PATCH", "/a"), ("DELETE", "/a")):
            for key, status in (("", 401), ("the-default-key", 403)):
                answer = await http.request(method, f"/v1/tenants{path}", headers={"x-api-key": key})
                assert answer.status_code == status


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"id": "Acme"}, "id"),
        ({"id": "a" * 64}, "id"),
        ({"id": "a\n"}, "id"),
        ({"limits": {"requests_per_second": 1}}, "requests_per_second"),
        ({"limits": {"cost_per_day_usd": "much"}}, "cost_per_day_usd"),
        ({"limits": {"requests_per_minute": 1.5}}, "requests_per_minute"),
        ({"models": "gpt-4o"}, "models"),
        ({"preferences": {"objective": "luck"}}, "objective"),
        ({"alerts": {"cost_fractions": [0]}}, "0"),
        ({"metadata": {str(number): number for number in range(65)}}, "metadata"),
        ({"object": "tenant"}, "object"),
    ],
)
async def test_malformed_tenants_are_refused(tmp_path: Path, change: dict[str, object], param: str) -> None:
    async with client(tmp_path) as http:
        answer = await http.post("/v1/tenants", json={**ACME, **change})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


@pytest.mark.asyncio
async def test_odd_paths(tmp_path: Path) -> None:
    async with client(tmp_path) as http:
        for path in ("a%00", "%F0%9F%98%80", "x" * 200):
            for method in ("GET", "PATCH", "DELETE"):
                assert (await http.request(method, f"/v1/tenants/{path}", json={})).status_code == 404
