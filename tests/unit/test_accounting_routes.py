from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from fastapi.testclient import TestClient

from sentinella_plugins.accounting.config import AccountingConfig
from sentinella_plugins.accounting.models import LedgerLine
from sentinella_plugins.accounting.queries import period
from sentinella_plugins.accounting.reports import safe_cell
from sentinella_plugins.accounting.routes import router
from sentinella_plugins.accounting.service import AccountingService
from sentinella_plugins.kernel.access import Guard
from sentinella_plugins.kernel.call import Principal
from sentinella_plugins.kernel.clock import ManualClock
from sentinella_plugins.kernel.errors import BadRequest, SentinellaError
from sentinella_plugins.kernel.money import Nano
from sentinella_plugins.storage.database import Database

NOON = 1_795_305_600.0 + 43_200  # 2026-11-22T12:00:00Z


async def who(request: Request) -> Principal:
    role = "admin" if request.headers.get("x-api-key") == "boss" else "member"
    return Principal(tenant="acme", key_id="key_1", role=role)  # type: ignore[arg-type]


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    clock = ManualClock(NOON)
    database = Database(f"sqlite:///{tmp_path / 'db.sqlite'}", clock=clock)
    service = AccountingService(database, clock, AccountingConfig(max_usage_rows=3), tmp_path / "spool")
    app = FastAPI()
    app.include_router(router(service, Guard(member=who, admin=who, metrics=who), clock))

    @app.exception_handler(SentinellaError)
    async def failed(_request: Request, error: SentinellaError) -> JSONResponse:
        return JSONResponse({"error": {"message": error.message, "param": error.param}}, error.status)

    async def start() -> None:
        await database.open()
        await asyncio.gather(*map(service.record, LINES))

    with TestClient(app) as running:
        assert running.portal is not None
        running.portal.call(start)
        yield running
        running.portal.call(database.close)


def line(
    number: int,
    *,
    tenant: str = "acme",
    model: str = "gpt-4o",
    at: float = NOON - 60,
    status: str = "success",
) -> LedgerLine:
    return LedgerLine(
        request_id=f"req_{number}",
        at=at + number / 1000,
        tenant=tenant,
        key_id="key_1",
        route="/v1/chat/completions",
        requested_model="auto",
        model=model,
        provider="openai",
        status=status,
        prompt_tokens=10,
        completion_tokens=5,
        cached_tokens=2,
        cost=Nano(1_000_000_001),
    )


LINES = [
    line(1),
    line(2, status="error"),
    line(3, model="=HYPERLINK(1)"),
    line(4, at=NOON - 86_400),
    line(5, tenant="umbrella"),
]
ADMIN = {"x-api-key": "boss"}


def get(client: TestClient, path: str, **headers: str) -> Any:
    response = client.get(path, headers=headers)
    assert response.status_code == 200, response.text
    return response.json()


def test_usage_by_day_and_model(client: TestClient) -> None:
    report = get(client, "/v1/usage")
    assert (report["object"], report["has_more"]) == ("list", False)
    assert [(row["day"], row["model"], row["requests"], row["errors"]) for row in report["data"]] == [
        ("2026-11-21", "gpt-4o", 1, 0),
        ("2026-11-22", "=HYPERLINK(1)", 1, 0),
        ("2026-11-22", "gpt-4o", 2, 1),
    ]
    assert report["data"][2]["cost_usd"] == "2.000000002"
    assert report["total"]["cost_usd"] == "4.000000004"
    assert (report["total"]["requests"], report["total"]["cached_tokens"]) == (4, 8)


def test_a_member_sees_its_own_tenant_only(client: TestClient) -> None:
    assert client.get("/v1/usage?tenant=umbrella").status_code == 403
    assert client.get("/v1/usage/calls?tenant=umbrella").status_code == 403
    assert client.get("/v1/usage?group_by=tenant").json()["error"]["param"] == "group_by"
    assert {row["tenant"] for row in get(client, "/v1/usage/calls")["data"]} == {"acme"}
    assert client.get("/v1/usage/calls?after=req_5").json()["error"]["param"] == "after"


def test_an_admin_sees_all_or_one(client: TestClient) -> None:
    by_tenant = get(client, "/v1/usage?group_by=tenant", **ADMIN)
    assert [(row["tenant"], row["requests"]) for row in by_tenant["data"]] == [("acme", 4), ("umbrella", 1)]
    assert get(client, "/v1/usage?tenant=umbrella&group_by=key", **ADMIN)["total"]["requests"] == 1


@pytest.mark.parametrize(
    ("query", "requests"),
    [
        ("start=2026-11-22", 3),
        ("end=2026-11-21", 1),
        ("start=2026-11-21&end=2026-11-22", 4),
        ("start=2026-11-22T12:00:00Z", 0),
        (f"start={NOON - 61}&end={NOON}", 3),
        ("start=0&end=99999999999999999999", 4),
    ],
)
def test_periods(client: TestClient, query: str, requests: int) -> None:
    assert get(client, f"/v1/usage?{query}")["total"]["requests"] == requests


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("start=yesterday", "start"),
        ("start=2026-13-01", "start"),
        ("end=nan", "end"),
        ("end=-5", "end"),
        ("start=2026-11-22&end=2026-11-20", "start"),
        ("group_by=colour", "group_by"),
        ("group_by=day,day", "group_by"),
        ("format=xml", "format"),
    ],
)
def test_a_bad_parameter_is_named(client: TestClient, query: str, param: str) -> None:
    response = client.get(f"/v1/usage?{query}")
    assert (response.status_code, response.json()["error"]["param"]) == (400, param)


@pytest.mark.parametrize(
    ("query", "param"),
    [("limit=0", "limit"), ("limit=x", "limit"), ("status=fine", "status"), ("model=a%00", "model")],
)
def test_a_bad_parameter_of_calls_is_named(client: TestClient, query: str, param: str) -> None:
    response = client.get(f"/v1/usage/calls?{query}")
    assert (response.status_code, response.json()["error"]["param"]) == (400, param)


def test_a_report_that_is_too_long_is_refused(client: TestClient) -> None:
    response = client.get("/v1/usage?group_by=day,model,tenant", headers=ADMIN)
    assert (response.status_code, response.json()["error"]["param"]) == (400, "group_by")


def test_csv_is_safe_to_open(client: TestClient) -> None:
    for query, headers in (("?format=csv", {}), ("", {"accept": "text/csv"})):
        response = client.get(f"/v1/usage{query}", headers=headers)
        assert response.headers["content-type"].startswith("text/csv")
        rows = list(csv.DictReader(io.StringIO(response.text)))
        assert [row["model"] for row in rows] == ["gpt-4o", "'=HYPERLINK(1)", "gpt-4o"]
        assert rows[2]["cost_usd"] == "2.000000002"


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@x", "\t=1", "\r", "  =1"])
def test_formulas_become_text(text: str) -> None:
    assert safe_cell(text) == "'" + text


def test_calls_are_paged(client: TestClient) -> None:
    first = get(client, "/v1/usage/calls?limit=3")
    assert ([row["id"] for row in first["data"]], first["has_more"]) == (["req_3", "req_2", "req_1"], True)
    second = get(client, "/v1/usage/calls?limit=3&after=req_1")
    assert ([row["id"] for row in second["data"]], second["has_more"]) == (["req_4"], False)
    assert [row["id"] for row in get(client, "/v1/usage/calls?status=error&model=gpt-4o")["data"]] == [
        "req_2"
    ]


def test_a_period_ends_after_now_and_takes_thirty_days() -> None:
    since, until = period(None, None, NOON)
    assert (since, until) == (NOON + 1 - 30 * 86_400, NOON + 1)
    with pytest.raises(BadRequest):
        period("2026-11-23", None, NOON)
