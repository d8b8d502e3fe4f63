"""The routes, over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI, Header, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from sentinella_plugins.kernel.access import Guard
from sentinella_plugins.kernel.call import Call, Principal
from sentinella_plugins.kernel.clock import ManualClock
from sentinella_plugins.kernel.errors import SentinellaError
from sentinella_plugins.router.config import RouterConfig
from sentinella_plugins.router.models import Policy
from sentinella_plugins.router.routes import router
from sentinella_plugins.router.service import RouterService
from tests.unit.router.parts import ANY, LARGE, SMALL, Shelf, answered, call

pytestmark = pytest.mark.asyncio


async def member(who: str = Header(default="acme")) -> Principal:
    role: Any = "admin" if who == "admin" else "member"
    return Principal(tenant="default" if who == "admin" else who, key_id=f"key_{who}", role=role)


async def policy(_call: Call) -> Policy:
    return ANY


async def tell(_request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, SentinellaError):
        return JSONResponse({"code": error.code, **error.details()}, error.status)
    return JSONResponse({"code": "invalid"}, 400)


@pytest.fixture
def service() -> RouterService:
    return RouterService(Shelf(), RouterConfig(), clock=ManualClock())


@pytest_asyncio.fixture
async def http(service: RouterService) -> AsyncIterator[httpx.AsyncClient]:
    api = FastAPI()
    api.include_router(
        router(service, Guard(member=member, admin=member, metrics=member), policy, ManualClock())
    )
    for kind in (SentinellaError, RequestValidationError):
        api.add_exception_handler(kind, tell)
    transport = httpx.ASGITransport(app=api)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        yield client


def question(**fields: object) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": "Hello there, how are you?"}], **fields}


async def test_a_dry_run_says_what_would_be_chosen(http: httpx.AsyncClient, service: RouterService) -> None:
    body = question(routing={"objective": "best"})
    answer = await http.post("/v1/router/explain", json=body)
    found = answer.json()
    assert answer.status_code == 200 and found["model"] == LARGE.name and found["reason"] == "best"
    assert found["candidates"][0]["model"] == LARGE.name
    assert (
        await http.get("/v1/router/explain", params={"request_id": found["request_id"]})
    ).status_code == 404
    refused = await http.post("/v1/router/explain", json=question(routing={"max_cost_usd": 0}))
    assert refused.status_code == 400 and refused.json()["code"] == "no_model_fits"
    assert set(refused.json()["excluded"].values()) == {"too_costly"}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"messages": []},
        question(routing={"objective": "quickest"}),
        question(routing={"min_quality": 2}),
        question(model="gpt-4o"),
    ],
)
async def test_a_wrong_dry_run_is_refused(http: httpx.AsyncClient, body: dict[str, object]) -> None:
    assert (await http.post("/v1/router/explain", json=body)).status_code == 400


async def test_a_decision_is_its_tenants(http: httpx.AsyncClient, service: RouterService) -> None:
    asked = await service.choose(call(), ANY)
    service.leave(asked, answered(asked.model))
    for who, status in (("acme", 200), ("other", 404), ("admin", 200)):
        answer = await http.get("/v1/router/explain", params={"request_id": asked.id}, headers={"who": who})
        assert answer.status_code == status


async def test_feedback_is_a_score_or_a_thumb(http: httpx.AsyncClient, service: RouterService) -> None:
    asked = await service.choose(call(), ANY)
    service.leave(asked, answered(asked.model))
    for given, score in (({"thumbs": "up"}, 1.0), ({"thumbs": "down"}, 0.0), ({"score": 0.3}, 0.3)):
        answer = await http.post("/v1/feedback", json={"request_id": asked.id, **given})
        assert answer.status_code == 201
        assert answer.json() == {
            "object": "feedback",
            "request_id": asked.id,
            "model": asked.model,
            "score": score,
        }
    for wrong in (
        {},
        {"score": 0.3, "thumbs": "up"},
        {"score": 1.1},
        {"thumbs": "up", "comment": "x" * 2_001},
    ):
        assert (await http.post("/v1/feedback", json={"request_id": asked.id, **wrong})).status_code == 400
    elsewhere = await http.post(
        "/v1/feedback", json={"request_id": asked.id, "thumbs": "up"}, headers={"who": "other"}
    )
    assert elsewhere.status_code == 404


async def test_results_calibrate_ones_own_tenant(http: httpx.AsyncClient) -> None:
    rows = [{"prompt": f"Question {n}?", "model": SMALL.name, "score": 1.0} for n in range(20)]
    rows.append({"prompt": "?", "model": "nobody", "score": 0.0})
    answer = await http.post("/v1/router/calibrate", json={"rows": rows})
    assert answer.json() == {
        "object": "router.calibration",
        "tenant": "acme",
        "rows": 20,
        "models": [{"model": SMALL.name, "rows": 20, "mean_score": 1.0}],
        "unknown_models": ["nobody"],
    }
    assert (await http.get("/v1/router/stats")).json()["calibrated"] == [SMALL.name]
    assert (await http.get("/v1/router/stats", headers={"who": "other"})).json()["calibrated"] == []
    other = {"rows": rows[:1], "tenant": "other"}
    assert (await http.post("/v1/router/calibrate", json=other)).status_code == 403
    assert (await http.post("/v1/router/calibrate", json=other, headers={"who": "admin"})).status_code == 200


async def test_a_calibration_is_bounded(http: httpx.AsyncClient) -> None:
    rows = [{"prompt": "a", "model": "b", "score": 1.0}] * 5_001
    assert (await http.post("/v1/router/calibrate", json={"rows": rows})).status_code == 400
    assert (await http.post("/v1/router/calibrate", json={"rows": []})).status_code == 400
