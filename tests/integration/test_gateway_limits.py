"""Hard limits over HTTP: exact under a thousand concurrent calls, with one worker and with four."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from sentinella_plugins.kernel.money import nano
from tests import servers
from tests.gateway import Gateway, Key, question, room_in_minute, running_gateway

CHAT = "/v1/chat/completions"
FLEETS = [
    "one worker",
    pytest.param("four workers", marks=pytest.mark.slow),
    pytest.param("redis", marks=[pytest.mark.slow, pytest.mark.redis]),
]


@pytest.fixture(scope="module", params=FLEETS)
def running_fleet(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """One worker and four on SQLite, two on Redis: one after the other."""
    folder = tmp_path_factory.mktemp("fleet")
    if request.param == "one worker":
        yield request.getfixturevalue("shared_gateway")
    elif request.param == "four workers":
        with running_gateway(folder, workers=4) as gateway:
            yield gateway
    else:
        with (
            servers.valkey() as redis,
            running_gateway(folder, workers=2, env={"REDIS_URL": redis.url}) as gateway,
        ):
            yield gateway


@pytest.fixture
def fleet(running_fleet: Gateway) -> Gateway:
    running_fleet.demo.clear()
    return running_fleet


several_workers = pytest.mark.parametrize("running_fleet", FLEETS[1:], indirect=True)


def post(gateway: Gateway, key: Key, **fields: object) -> httpx.Response:
    return httpx.post(
        gateway.url + CHAT, json=question(**fields), headers=key.headers, timeout=60, trust_env=False
    )


async def storm(gateway: Gateway, key: Key, count: int, **fields: object) -> list[httpx.Response]:
    """All at once, each on a connection of its own."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    async with httpx.AsyncClient(
        base_url=gateway.url, headers=key.headers, timeout=120, limits=limits, trust_env=False
    ) as client:
        return await asyncio.gather(*(client.post(CHAT, json=question(**fields)) for _ in range(count)))


def told(answer: httpx.Response, code: str) -> dict[str, Any]:
    assert answer.status_code == 429, answer.text
    error: dict[str, Any] = answer.json()["error"]
    assert error["code"] == code and error["type"] == "rate_limit_error" and error["param"] is None
    assert error["scope"] in ("tenant", "key") and error["limit"] and error["used"] is not None
    retry_after = int(answer.headers["retry-after"])
    assert retry_after >= 1
    if code != "concurrency_limit":
        assert abs(error["resets_at"] - time.time() - retry_after) < 3
    assert answer.headers["x-request-id"]
    return error


def settled(gateway: Gateway, key: Key) -> None:
    """Nothing runs any more and nothing stays reserved, whatever store keeps the counters."""
    assert all(line["status"] != "abandoned" for line in gateway.calls(key))
    gateway.demo.clear()
    gateway.admin.patch(f"/v1/tenants/{key.tenant}", json={"limits": ROOMY}).raise_for_status()
    time.sleep(0.6)  # until every worker knows the wider limits
    left = post(gateway, key).json()["sentinella"]["budget_left"]
    assert left["max_concurrency"] == ROOMY["max_concurrency"] - 1, "only this call runs"


ROOMY: dict[str, Any] = {
    "requests_per_minute": None,
    "requests_per_hour": None,
    "cost_per_day_usd": "1000",
    "max_concurrency": 1000,
}
REQUESTS = {
    "requests_per_minute": "rate_limit_minute",
    "requests_per_hour": "rate_limit_hour",
    "requests_per_day": "rate_limit_day",
}
LENGTH = {"requests_per_minute": 60, "requests_per_hour": 3600, "requests_per_day": 86400}


@pytest.mark.parametrize("limit", REQUESTS)
def test_request_limits(gateway: Gateway, limit: str) -> None:
    room_in_minute(5)
    key = gateway.tenant(**{limit: 2})
    for left in (1, 0):
        answer = post(gateway, key)
        assert answer.status_code == 200 and answer.headers["x-ratelimit-limit-requests"] == "2"
        assert answer.headers["x-ratelimit-remaining-requests"] == str(left)
        assert answer.json()["sentinella"]["budget_left"] == {limit: left}
    refusal = post(gateway, key)
    error = told(refusal, REQUESTS[limit])
    assert (error["limit"], error["used"], error["scope"]) == ("2", "2", "tenant")
    assert refusal.headers["x-ratelimit-remaining-requests"] == "0"
    reset = int(refusal.headers["x-ratelimit-reset-requests"].removesuffix("s"))
    assert error["resets_at"] % LENGTH[limit] == 0 and abs(time.time() + reset - error["resets_at"]) < 3
    assert gateway.demo.counts()["total"] == 2
    assert [line["status"] for line in gateway.calls(key)] == ["success", "success"]


@pytest.mark.parametrize("stream", [False, True])
def test_the_limit_of_a_key(gateway: Gateway, stream: bool) -> None:
    tenant = gateway.tenant(requests_per_day=10).tenant
    key, other = gateway.key(tenant, limits={"requests_per_day": 1}), gateway.key(tenant)
    assert post(gateway, key, stream=stream).status_code == 200
    assert told(post(gateway, key, stream=stream), "rate_limit_day")["scope"] == "key"
    assert post(gateway, other, stream=stream).status_code == 200


def test_tokens_per_minute(gateway: Gateway) -> None:
    room_in_minute(5)
    gateway.demo.rule(reply={"text": "Yes.", "usage": {"prompt": 60, "completion": 40}})
    key = gateway.tenant(tokens_per_minute=150)
    assert post(gateway, key, max_tokens=50).status_code == 200
    error = told(post(gateway, key, max_tokens=50), "rate_limit_minute")
    assert error["limit"] == "150" and error["used"] == "100", "used is what the model really used"
    assert "token" in error["message"]


@pytest.mark.parametrize(
    "limit,code", [("cost_per_day_usd", "cost_limit_day"), ("cost_per_month_usd", "cost_limit_month")]
)
def test_cost_limits(gateway: Gateway, limit: str, code: str) -> None:
    gateway.demo.rule(reply={"text": "Yes.", "usage": {"prompt": 1000, "completion": 1000}})
    key = gateway.tenant(**{limit: "0.001"})  # a thousand tokens in and out are $0.00075
    assert post(gateway, key, max_tokens=1000).status_code == 200
    error = told(post(gateway, key, max_tokens=1000), code)
    assert error["limit"] == "0.001" and error["used"] == "0.00075"
    assert "$0.001" in error["message"]
    assert post(gateway, key, max_tokens=10).status_code == 200, "what still fits still passes"


def test_openai_client_sees_a_rate_limit(gateway: Gateway) -> None:
    key = gateway.tenant(requests_per_day=0)
    with (
        openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=key.key, max_retries=0) as client,
        pytest.raises(openai.RateLimitError) as caught,
    ):
        client.chat.completions.create(**question())  # type: ignore[call-overload]
    assert caught.value.code == "rate_limit_day" and caught.value.response.headers["retry-after"]


@pytest.mark.asyncio
async def test_exactly_fifty_of_a_thousand(fleet: Gateway) -> None:
    key = fleet.tenant(requests_per_minute=50)
    room_in_minute(15)
    minute = time.time() // 60
    answers = await storm(fleet, key, 1000)
    assert time.time() // 60 == minute, "the storm crossed a minute: this machine is too slow for this test"
    assert Counter(answer.status_code for answer in answers) == {200: 50, 429: 950}
    assert {a.json()["error"]["code"] for a in answers if a.status_code == 429} == {"rate_limit_minute"}
    assert fleet.demo.counts()["total"] == 50
    assert len(fleet.calls(key)) == 50
    assert len({answer.headers["x-request-id"] for answer in answers}) == 1000
    settled(fleet, key)


@pytest.mark.asyncio
async def test_spend_never_passes_its_limit(fleet: Gateway) -> None:
    fleet.demo.rule(reply={"text": "Yes.", "usage": {"prompt": 8, "completion": 90}})
    limit = nano("0.001")
    key = fleet.tenant(cost_per_day_usd="0.001")
    answers = await storm(fleet, key, 200, max_tokens=100)
    passed = [answer for answer in answers if answer.status_code == 200]
    assert passed and {a.json()["error"]["code"] for a in answers if a.status_code != 200} == {
        "cost_limit_day"
    }
    for _ in range(30):
        if post(fleet, key, max_tokens=100).status_code == 429:
            break
    spent = sum(nano(line["cost_usd"]) for line in fleet.calls(key))
    worst = nano("0.0000625")  # about what one call reserves
    assert limit - worst <= spent <= limit, "not a call too many and not one too few"
    settled(fleet, key)


@pytest.mark.asyncio
async def test_both_limits_at_once(fleet: Gateway) -> None:
    fleet.demo.rule(reply={"text": "Yes.", "usage": {"prompt": 8, "completion": 90}})
    key = fleet.tenant(requests_per_hour=10, cost_per_day_usd="0.001")
    answers = await storm(fleet, key, 100, max_tokens=100)
    assert Counter(answer.status_code for answer in answers) == {200: 10, 429: 90}
    assert sum(nano(line["cost_usd"]) for line in fleet.calls(key)) <= nano("0.001")


@pytest.mark.asyncio
async def test_concurrency(fleet: Gateway) -> None:
    fleet.demo.rule(fault={"delay_s": 2.5})
    key = fleet.tenant(max_concurrency=5)
    for _ in range(2):
        answers = await storm(fleet, key, 40)
        assert Counter(answer.status_code for answer in answers) == {200: 5, 429: 35}
        told(next(a for a in answers if a.status_code == 429), "concurrency_limit")
    settled(fleet, key)


def test_a_stream_counts_as_running_until_its_end(gateway: Gateway) -> None:
    gateway.demo.rule(reply={"chunks": 4}, fault={"stall_after": 2, "stall_s": 1.5}, times=1)
    key = gateway.tenant(max_concurrency=1)
    with gateway.client(key) as client, client.stream("POST", CHAT, json=question(stream=True)) as stream:
        lines = stream.iter_lines()
        assert next(lines)
        told(post(gateway, key), "concurrency_limit")
        list(lines)
    assert post(gateway, key).status_code == 200


@pytest.mark.parametrize("stream", [False, True])
def test_failed_calls_give_everything_back(gateway: Gateway, stream: bool) -> None:
    gateway.demo.rule(fault={"status": 500})
    model = "gpt-4.1-mini" if stream else "gpt-4.1"
    limits = {
        "requests_per_day": 3,
        "cost_per_day_usd": "1",
        "tokens_per_minute": 100_000,
        "max_concurrency": 1,
    }
    key = gateway.tenant(**limits)
    for _ in range(6):
        answer = post(gateway, key, model=model, stream=stream)
        assert answer.status_code in (500, 502, 503), answer.text
    assert gateway.held(key.tenant) == []
    gateway.demo.clear()
    time.sleep(0.1)
    passed = [post(gateway, key, model=model, stream=stream).status_code for _ in range(4)]
    assert passed == [200, 200, 200, 429]


def test_the_default_tenant_is_unlimited_and_holds_nothing(gateway: Gateway) -> None:
    answer = post(gateway, gateway.default)
    assert answer.status_code == 200 and "x-ratelimit-limit-requests" not in answer.headers
    assert gateway.held("default") == []


def test_limits_change_at_once(gateway: Gateway) -> None:
    key = gateway.tenant(requests_per_day=0)
    assert post(gateway, key).status_code == 429
    gateway.admin.patch(
        f"/v1/tenants/{key.tenant}", json={"limits": {"requests_per_day": 1}}
    ).raise_for_status()
    assert post(gateway, key).status_code == 200
    assert post(gateway, key).status_code == 429


@several_workers
def test_a_revocation_holds_in_every_worker(fleet: Gateway) -> None:
    key = fleet.tenant()
    assert {post(fleet, key).status_code for _ in range(24)} == {200}, (
        "every connection may meet another worker"
    )
    fleet.admin.delete(f"/v1/tenants/{key.tenant}/keys/{key.id}").raise_for_status()
    time.sleep(1)
    assert {post(fleet, key).status_code for _ in range(24)} == {401}


@several_workers
def test_workers_share_a_limit(fleet: Gateway) -> None:
    key = fleet.tenant(requests_per_day=20)
    assert Counter(post(fleet, key).status_code for _ in range(30)) == {200: 20, 429: 10}


def test_a_refusal_says_what_is_left_of_the_key(gateway: Gateway) -> None:
    key = gateway.tenant(requests_per_day=5, requests_per_hour=1, cost_per_day_usd="5")
    assert post(gateway, key).status_code == 200
    answer = post(gateway, key)
    told(answer, "rate_limit_hour")
    assert answer.headers["x-ratelimit-limit-requests"] == "1"


def test_threads_of_one_client(gateway: Gateway) -> None:
    key = gateway.tenant(requests_per_day=7)
    codes: list[int] = []
    threads = [
        threading.Thread(target=lambda: codes.append(post(gateway, key).status_code)) for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(codes) == {200: 7, 429: 13}
