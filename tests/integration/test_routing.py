"""Choosing a model, seen from outside."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.gateway import Gateway, Key, question
from tests.servers import wait_until

EASY = "Say hello."
HARD = "Prove step by step that there are infinitely many primes, and explain why the argument is sound."


def ask(client: httpx.Client, text: str = EASY, **fields: Any) -> dict[str, Any]:
    answer = client.post("/v1/chat/completions", json=question(text, None, **fields))
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


@pytest.fixture
def tenant(gateway: Gateway) -> Key:
    return gateway.tenant("routing")


@pytest.fixture
def client(gateway: Gateway, tenant: Key) -> Iterator[httpx.Client]:
    with gateway.client(tenant) as opened:
        yield opened


def test_the_choice_is_in_the_answer_and_can_be_explained(client: httpx.Client) -> None:
    body = ask(client, HARD)
    routing = body["sentinella"]["routing"]
    assert routing["reason"] == "balanced" and routing["task"] and 0 < routing["complexity"] <= 1
    assert 1 < len(routing["candidates"]) <= 5
    request_id = body["sentinella"]["request_id"]
    found = client.get("/v1/router/explain", params={"request_id": request_id}).json()
    assert found["request_id"] == request_id and found["outcome"]["status"] == "success"
    best = found["candidates"][0]
    assert best["excluded"] is None and best["model"] == routing["candidates"][0]
    assert {"deprecated"} <= {one["excluded"] for one in found["candidates"]}


def test_objectives_differ_in_what_they_cost(client: httpx.Client) -> None:
    costs = {}
    for objective in ("cheapest", "best"):
        routing = {"objective": objective}
        found = client.post(
            "/v1/router/explain", json={"messages": [{"role": "user", "content": HARD}], "routing": routing}
        ).json()
        costs[objective] = found["candidates"][0]["cost_usd"]
        assert ask(client, HARD, routing=routing)["sentinella"]["routing"]["reason"] == objective
    assert costs["cheapest"] < costs["best"] / 5


def test_a_request_binds_the_choice(client: httpx.Client) -> None:
    body = ask(client, routing={"providers": ["mistral"], "exclude": ["mistral-large*"]})
    assert body["sentinella"]["provider"] == "mistral" and not body["model"].startswith("mistral-large")
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    content = [{"type": "text", "text": "What is this?"}, image]
    seeing = ask(client, messages=[{"role": "user", "content": content}])
    request_id = seeing["sentinella"]["request_id"]
    found = client.get("/v1/router/explain", params={"request_id": request_id}).json()
    assert "lacks_vision" in {one["excluded"] for one in found["candidates"]}


def test_what_nothing_fits_is_refused_with_reasons(client: httpx.Client) -> None:
    body = question(EASY, None, routing={"max_cost_usd": 0})
    answer = client.post("/v1/chat/completions", json=body)
    error = answer.json()["error"]
    assert answer.status_code == 400 and error["code"] == "no_model_fits" and error["param"] == "routing"
    assert "too_costly" in error["excluded"].values()


def test_a_tenants_wishes_count(gateway: Gateway) -> None:
    key = gateway.tenant("wishes")
    patch = {"preferences": {"providers": ["anthropic"], "objective": "cheapest"}}
    gateway.admin.patch(f"/v1/tenants/{key.tenant}", json=patch).raise_for_status()
    with gateway.client(key) as client:
        body = ask(client)
    assert body["sentinella"]["provider"] == "anthropic"
    assert body["sentinella"]["routing"]["reason"] == "cheapest"


def test_a_session_stays_on_its_model(client: httpx.Client) -> None:
    models = {ask(client, text, session_id="s-1")["model"] for text in (EASY, EASY, "And once more, please.")}
    assert len(models) == 1


def test_a_stream_is_chosen_and_learned_from(client: httpx.Client) -> None:
    body = question(EASY, None, stream=True)
    answer = client.post("/v1/chat/completions", json=body)
    request_id = answer.headers["x-request-id"]
    found = client.get("/v1/router/explain", params={"request_id": request_id}).json()
    assert found["outcome"]["status"] == "success" and found["outcome"]["first_token_ms"] > 0


def test_own_results_and_feedback_move_only_ones_own_choice(gateway: Gateway, client: httpx.Client) -> None:
    first = ask(client, HARD)["model"]
    rows = [{"prompt": f"{HARD} ({n})", "model": first, "score": 0.0} for n in range(40)]
    done = client.post("/v1/router/calibrate", json={"rows": rows}).json()
    assert done["models"] == [{"model": first, "rows": 40, "mean_score": 0.0}]
    body = ask(client, HARD + " Again.")
    assert body["model"] != first
    given = {"request_id": body["sentinella"]["request_id"], "thumbs": "up", "comment": "fine"}
    assert client.post("/v1/feedback", json=given).status_code == 201
    stranger = gateway.tenant("stranger")
    with gateway.client(stranger) as other:
        assert other.post("/v1/feedback", json=given).status_code == 404
        assert other.get("/v1/router/stats").json()["calibrated"] == []
    assert first in client.get("/v1/router/stats").json()["calibrated"]


def test_a_decision_outlives_its_worker_in_the_database(gateway: Gateway, client: httpx.Client) -> None:
    request_id = ask(client, HARD)["sentinella"]["request_id"]
    wait_until(lambda: bool(gateway.sql("SELECT 1 FROM router_decisions WHERE request_id = ?", request_id)))
    ((document,),) = gateway.sql("SELECT document FROM router_decisions WHERE request_id = ?", request_id)
    assert HARD not in document


def test_stats_tell_volumes_to_admins_only(gateway: Gateway, client: httpx.Client) -> None:
    ask(client)
    member, admin = (http.get("/v1/router/stats").json() for http in (client, gateway.admin))
    assert all("calls" not in line for line in member["models"])
    assert sum(line["calls"] for line in admin["models"] if line["task"] == "*") >= 1


def test_routes_need_a_key(gateway: Gateway) -> None:
    for method, path in (
        ("GET", "/v1/router/stats"),
        ("POST", "/v1/feedback"),
        ("POST", "/v1/router/calibrate"),
    ):
        answer = httpx.request(method, f"{gateway.url}{path}", json={}, trust_env=False)
        assert answer.status_code == 401
