from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from fastapi.testclient import TestClient

from sentinella_plugins.kernel.access import Guard
from sentinella_plugins.kernel.call import Principal
from sentinella_plugins.kernel.clock import SystemClock
from sentinella_plugins.kernel.errors import SentinellaError
from sentinella_plugins.memory.routes import router
from sentinella_plugins.storage.database import Database
from tests.unit.memory.worker import Worker, call_of, success, system, user

NAMES = ("first", "user/42", "ünï cöde")


async def who(request: Request) -> Principal:
    key = request.headers.get("x-api-key", "acme")
    return Principal(tenant=key, key_id="key_1", role="admin" if key == "boss" else "member")


async def prepare(database: Database, worker: Worker) -> None:
    await database.open()
    for name in NAMES:
        call = await worker.stage.enter(call_of(system("be kind"), user(f"hello {name}"), session=name))
        await worker.stage.leave(call, success("hi"))
    for number in range(6):
        await worker.say(f"q{number}")


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    clock = SystemClock()
    database = Database(f"sqlite:///{tmp_path / 'db.sqlite'}", clock=clock)
    app = FastAPI()
    worker: list[Worker] = []

    async def make() -> None:
        worker.append(Worker(database, clock, keep_last=2))
        await prepare(database, worker[0])
        app.include_router(router(worker[0].service, Guard(member=who, admin=who, metrics=who)))

    @app.exception_handler(SentinellaError)
    async def failed(_request: Request, error: SentinellaError) -> JSONResponse:
        return JSONResponse({"code": error.code, "param": error.param}, error.status)

    with TestClient(app) as running:
        assert running.portal is not None
        running.portal.call(make)
        yield running
        running.portal.call(database.close)


def get(client: TestClient, path: str, status: int = 200, key: str = "acme", **query: object) -> Any:
    answer = client.get(f"/v1/sessions{path}", params=query, headers={"x-api-key": key})  # type: ignore[arg-type]
    assert answer.status_code == status, answer.text
    return answer.json()


def test_sessions_come_page_by_page_newest_first(client: TestClient) -> None:
    first = get(client, "", limit=3)
    assert [one["id"] for one in first["data"]] == ["s", *NAMES[:0:-1]]
    assert first["object"] == "list" and first["has_more"] is True
    rest = get(client, "", limit=3, after=first["data"][-1]["id"])
    assert ([one["id"] for one in rest["data"]], rest["has_more"]) == (["first"], False)
    get(client, "", 404, after="nobody's")
    assert get(client, "", key="other")["data"] == []
    assert len(get(client, "", key="boss", tenant="acme")["data"]) == 4
    assert get(client, "", 404, key="other", tenant="acme")["code"] == "session_not_found"


@pytest.mark.parametrize("name", NAMES)
def test_a_session_by_its_id(client: TestClient, name: str) -> None:
    session = get(client, f"/{name}")
    assert (session["id"], session["turns"], session["messages"]) == (name, 1, 2)
    assert session["system"] == [system("be kind")]
    assert get(client, f"/{name}", 404, key="other")["code"] == "session_not_found"
    assert len(get(client, f"/{name}/messages")["data"]) == 2


def test_messages_in_both_orders(client: TestClient) -> None:
    def seen(order: str) -> list[str]:
        found: list[dict[str, Any]] = []
        more = True
        while more:
            after = {"after": found[-1]["id"]} if found else {}
            page = get(client, "/s/messages", limit=5, order=order, **after)
            found += page["data"]
            more = page["has_more"]
        return [one["message"]["content"] for one in found]

    expected = [text for n in range(6) for text in (f"q{n}", f"re: q{n}")]
    assert seen("asc") == expected
    assert seen("desc") == expected[::-1]
    get(client, "/s/messages", 404, key="other")
    assert get(client, "/s/messages", 400, after="msg_x")["param"] == "after"


def test_export(client: TestClient) -> None:
    lines = client.get("/v1/sessions/s/export").text.splitlines()
    session, *messages = map(json.loads, lines)
    assert session["object"] == "session" and len(messages) == 12
    whole = get(client, "/s/export", format="json")
    assert whole["object"] == "session.export" and whole["data"] == messages
    get(client, "/s/export", 404, key="other")


def test_summarising_on_demand(client: TestClient) -> None:
    answer = client.post("/v1/sessions/s/summarise").json()
    assert (answer["summary"], answer["summarised_messages"]) == ("minutes 1", 10)
    assert client.post("/v1/sessions/none/summarise").status_code == 404


def test_deletion(client: TestClient) -> None:
    assert client.delete("/v1/sessions/s", headers={"x-api-key": "other"}).status_code == 404
    assert client.delete("/v1/sessions/s").json() == {
        "id": "s",
        "object": "session.deleted",
        "deleted": True,
    }
    get(client, "/s", 404)
    assert client.delete("/v1/sessions").status_code == 400
    assert client.delete("/v1/sessions?confirm=true", headers={"x-api-key": "other"}).json()["count"] == 0
    assert client.delete("/v1/sessions?confirm=true").json()["count"] == 3
    assert get(client, "")["data"] == []
