"""Who may do what, through the real proxy."""

from __future__ import annotations

import time
from typing import Any

import httpx
import openai
import pytest

from sentinella_plugins.kernel.secrets import new_key
from tests.gateway import METERED, Gateway, Key, question

CHAT = "/v1/chat/completions"
BODIES: dict[str, dict[str, Any]] = {CHAT: question(), **METERED}
ADMIN_ROUTES = [
    ("GET", "/v1/tenants"),
    ("POST", "/v1/tenants"),
    ("GET", "/v1/tenants/default"),
    ("PATCH", "/v1/tenants/default"),
    ("DELETE", "/v1/tenants/default"),
    ("GET", "/v1/tenants/default/keys"),
    ("POST", "/v1/tenants/default/keys"),
    ("GET", "/metrics"),
]
LITELLM_ADMIN_ROUTES = [
    ("POST", "/key/generate"),
    ("GET", "/key/list"),
    ("GET", "/key/info"),
    ("POST", "/user/new"),
    ("POST", "/team/new"),
    ("POST", "/model/new"),
    ("POST", "/model/delete"),
    ("GET", "/model/info"),
    ("GET", "/v1/model/info"),
    ("POST", "/config/update"),
    ("GET", "/get/config/callbacks"),
    ("GET", "/spend/logs"),
    ("GET", "/global/spend/report"),
    ("POST", "/cache/flushall"),
    ("GET", "/health/services"),
    ("GET", "/v1/files"),
    ("GET", "/v1/batches"),
    ("POST", "/v1/audio/speech"),
    ("POST", "/v1/images/generations"),
    ("POST", "/v1/moderations"),
    ("POST", "/v1/rerank"),
    ("POST", "/openai/v1/chat/completions"),
    ("POST", "/anthropic/v1/messages"),
    ("POST", "/gemini/v1beta/models/gemini-2.5-pro:generateContent"),
    ("POST", "/v1beta/models/gemini-2.5-pro:generateContent"),
    ("POST", "/openai/deployments/gpt-4o/embeddings"),
    ("POST", "/openai/deployments/gpt-4o/completions"),
    ("POST", "/engines/gpt-4o/completions"),
    ("GET", "/v1/responses/resp_1"),
    ("POST", "/v1/messages/count_tokens"),
    ("POST", "/utils/token_counter"),
]


def post(gateway: Gateway, headers: dict[str, str], path: str = CHAT) -> httpx.Response:
    return httpx.post(gateway.url + path, json=BODIES[path], headers=headers, timeout=30, trust_env=False)


def refused(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    error: dict[str, Any] = answer.json()["error"]
    assert {"message", "type", "param", "code"} <= set(error) and error["code"] == code and error["message"]
    assert answer.headers["x-request-id"]
    return error


def key_ways(key: Key) -> list[dict[str, str]]:
    return [
        {"authorization": f"Bearer {key.key}"},
        {"authorization": f"bearer {key.key}"},
        {"authorization": key.key},
        {"x-api-key": key.key},
    ]


@pytest.mark.parametrize("path", BODIES)
def test_every_way_to_show_a_key(gateway: Gateway, path: str) -> None:
    key = gateway.tenant()
    for headers in key_ways(key):
        answer = post(gateway, headers, path)
        assert answer.status_code == 200, (headers, answer.text)
    assert len(gateway.calls(key)) == 4


@pytest.mark.parametrize("path", BODIES)
def test_strangers_stay_outside(gateway: Gateway, path: str) -> None:
    wrong = [{}, {"authorization": "Bearer"}, {"authorization": "Bearer sk-wrong"}, {"x-api-key": "nonsense"}]
    wrong += [{"authorization": f"Bearer {new_key()}"}, {"authorization": "Basic dXNlcjpwYXNz"}]
    wrong += [{"x-api-key": "sk-sen-" + "A" * 46}, {"authorization": "Bearer " + "x" * 5000}]
    for headers in wrong:
        error = refused(post(gateway, headers, path), 401, "invalid_api_key")
        assert error["type"] == "authentication_error"
    assert gateway.demo.counts()["total"] == 0


def test_strangers_see_nothing_else(gateway: Gateway) -> None:
    for path in ("/v1/models", "/v1/usage", "/v1/usage/calls", "/v1/tenants", "/metrics"):
        answer = httpx.get(gateway.url + path, trust_env=False)
        assert answer.status_code == 401 and answer.json()["error"]["code"] == "invalid_api_key", path
    for method, path in LITELLM_ADMIN_ROUTES:
        answer = httpx.request(method, gateway.url + path, trust_env=False, timeout=30)
        assert answer.status_code in (401, 404, 405), (path, answer.text)
    assert gateway.demo.counts()["total"] == 0


def test_openai_client_raises_its_own_errors(gateway: Gateway) -> None:
    key = gateway.tenant(models=["gpt-4o-mini"])
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="sk-wrong", max_retries=0) as client:
        with pytest.raises(openai.AuthenticationError):
            client.chat.completions.create(**question())  # type: ignore[call-overload]
        with pytest.raises(openai.PermissionDeniedError) as caught:
            client.with_options(api_key=key.key).chat.completions.create(**question(model="gpt-4o"))  # type: ignore[call-overload]
        assert caught.value.code == "model_not_allowed" and caught.value.param == "model"
        with pytest.raises(openai.NotFoundError):
            client.with_options(api_key=key.key, base_url=f"{gateway.url}/v1").models.retrieve("gpt-4o")


@pytest.mark.parametrize("method,path", ADMIN_ROUTES)
def test_members_are_no_administrators(gateway: Gateway, method: str, path: str) -> None:
    key = gateway.tenant()
    answer = httpx.request(method, gateway.url + path, headers=key.headers, json={}, trust_env=False)
    refused(answer, 403, "forbidden")


@pytest.mark.parametrize("method,path", LITELLM_ADMIN_ROUTES)
def test_members_do_not_reach_litellm(gateway: Gateway, method: str, path: str) -> None:
    key = gateway.tenant()
    body = None if method == "GET" else {"model": "gpt-4o-mini", "input": "Hi", "prompt": "Hi", **question()}
    headers = {**key.headers, "x-api-key": key.key, "x-goog-api-key": key.key}
    answer = httpx.request(
        method, gateway.url + path, headers=headers, json=body, trust_env=False, timeout=30
    )
    assert answer.status_code in (403, 404, 405), answer.text
    assert "Traceback" not in answer.text and gateway.demo.counts()["total"] == 0


def test_an_admin_key_is_an_administrator(gateway: Gateway) -> None:
    key = gateway.key(gateway.tenant().tenant, role="admin")
    with gateway.client(key) as client:
        assert client.get("/v1/tenants/default").status_code == 200
        assert client.get("/metrics").status_code == 200
        assert client.get("/model/info").status_code == 200


@pytest.mark.parametrize("path", BODIES)
def test_models_that_are_not_allowed(gateway: Gateway, path: str) -> None:
    key = gateway.tenant(models=["grok-*"])
    error = refused(post(gateway, key.headers, path), 403, "model_not_allowed")
    assert error["param"] == "model" and BODIES[path]["model"] in error["message"]
    assert gateway.demo.counts()["total"] == 0


def test_a_key_narrows_its_tenant(gateway: Gateway) -> None:
    tenant = gateway.tenant(models=["gpt-4o*", "claude-*"]).tenant
    key = gateway.key(tenant, models=["gpt-*"])
    with gateway.client(key) as client:
        listed = {card["id"] for card in client.get("/v1/models").json()["data"]}
        assert listed == {"gpt-4o", "gpt-4o-mini"}
        assert client.get("/v1/models/claude-haiku-5-5").status_code == 404
        assert client.post(CHAT, json=question(model="claude-haiku-5-5")).status_code == 403
        assert client.post(CHAT, json=question(model="gpt-4.1")).status_code == 403
        chosen = client.post(CHAT, json=question(model=None)).json()
        assert chosen["model"] in listed and set(chosen["sentinella"]["routing"]["candidates"]) == listed


def test_a_revoked_key_dies_within_a_second(gateway: Gateway) -> None:
    key = gateway.tenant()
    assert post(gateway, key.headers).status_code == 200
    gateway.admin.delete(f"/v1/tenants/{key.tenant}/keys/{key.id}").raise_for_status()
    time.sleep(1)
    assert "revoked" in refused(post(gateway, key.headers), 401, "invalid_api_key")["message"]
    assert post(gateway, key.headers, "/v1/embeddings").status_code == 401


def test_an_expired_key_is_dead(gateway: Gateway) -> None:
    key = gateway.key(gateway.tenant().tenant, expires_at=int(time.time()) + 2)
    assert post(gateway, key.headers).status_code == 200
    time.sleep(2.2)
    assert "expired" in refused(post(gateway, key.headers), 401, "invalid_api_key")["message"]


@pytest.mark.parametrize("grace_s", [0, 3])
def test_a_rotated_key(gateway: Gateway, grace_s: int) -> None:
    old = gateway.tenant()
    url = f"/v1/tenants/{old.tenant}/keys/{old.id}/rotate"
    made = gateway.admin.post(url, json={"grace_s": grace_s}).raise_for_status().json()
    rotated = time.monotonic()
    new = Key(made["id"], made["key"], old.tenant)
    assert post(gateway, new.headers).status_code == 200
    if grace_s:
        time.sleep(1)
        assert post(gateway, old.headers).status_code == 200
    time.sleep(max(0.0, rotated + grace_s + 1 - time.monotonic()))
    assert post(gateway, old.headers).status_code == 401
    assert post(gateway, new.headers).status_code == 200


def test_the_keys_of_a_deleted_tenant_die(gateway: Gateway) -> None:
    key = gateway.tenant()
    assert post(gateway, key.headers).status_code == 200
    gateway.admin.delete(f"/v1/tenants/{key.tenant}").raise_for_status()
    time.sleep(1)
    refused(post(gateway, key.headers), 401, "invalid_api_key")


def test_tenants_do_not_see_one_another(gateway: Gateway) -> None:
    one, other = gateway.tenant(), gateway.tenant()
    with gateway.client(one) as mine, gateway.client(other) as theirs:
        request_id = mine.post(CHAT, json=question()).headers["x-request-id"]
        assert [line["id"] for line in mine.get("/v1/usage/calls").json()["data"]] == [request_id]
        assert mine.get("/v1/usage").json()["total"]["requests"] == 1
        assert theirs.get("/v1/usage/calls").json()["data"] == []
        assert theirs.get("/v1/usage").json()["total"]["requests"] == 0
        assert theirs.get("/v1/usage", params={"tenant": one.tenant}).status_code == 403
        assert theirs.get("/v1/usage/calls", params={"tenant": one.tenant}).status_code == 403
        assert theirs.get("/v1/usage", params={"group_by": "tenant"}).status_code == 400
        assert theirs.get(f"/v1/tenants/{one.tenant}").status_code == 403


def test_one_tenants_limit_does_not_touch_another(gateway: Gateway) -> None:
    full, free = gateway.tenant(requests_per_day=0), gateway.tenant(requests_per_day=5)
    assert post(gateway, full.headers).status_code == 429
    assert post(gateway, free.headers).status_code == 200
