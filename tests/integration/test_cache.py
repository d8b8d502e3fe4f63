"""The cache through the real proxy."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from sentinella_plugins.demo import Demo
from tests.gateway import CACHING, Gateway, Key, events, question, running_gateway
from tests.servers import wait_until

CHAT = "/v1/chat/completions"
FRANCE, ALIKE = "What is the capital of France?", "What's the capital of France?"
UNCHECKED = CACHING | {"SENTINELLA_CACHE__CHECKS__ENABLED": "false"}
"""The check of one test's hit would be counted among the calls of the next."""


@pytest.fixture(scope="module")
def caching_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running_gateway(tmp_path_factory.mktemp("gateway"), env=UNCHECKED) as gateway:
        yield gateway


@pytest.fixture
def gateway(caching_gateway: Gateway) -> Gateway:
    caching_gateway.demo.clear()
    return caching_gateway


@pytest.fixture
def acme(gateway: Gateway) -> Key:
    gateway.demo.rule(reply={"text": "It is Paris."})
    return gateway.tenant()


@pytest.fixture
def client(gateway: Gateway, acme: Key) -> Iterator[httpx.Client]:
    with gateway.client(acme) as client:
        yield client


def ask(client: httpx.Client, text: str = FRANCE, **fields: object) -> dict[str, Any]:
    answer = client.post(CHAT, json=question(text, **fields)).raise_for_status()
    told: dict[str, Any] = answer.json()
    return told


def mark(told: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = told["sentinella"]["cache"]
    return found


def streamed(client: httpx.Client, text: str, **fields: object) -> tuple[str, list[dict[str, Any]]]:
    body = question(text, stream=True, **fields)
    with client.stream("POST", CHAT, json=body) as answer:
        answer.raise_for_status()
        data = events(answer.iter_lines())
    assert data[-1] == "[DONE]"
    chunks = [json.loads(one) for one in data[:-1]]
    said = "".join(
        choice["delta"].get("content") or "" for chunk in chunks for choice in chunk.get("choices", ())
    )
    return said, chunks


def asked(demo: Demo) -> int:
    return len(demo.requests(1_000))


def test_a_second_call_costs_nothing(gateway: Gateway, acme: Key, client: httpx.Client) -> None:
    first, second = ask(client), ask(client)
    assert (first["cached"], mark(first)["status"]) == (False, "miss")
    assert (second["cached"], mark(second)["status"], mark(second)["kind"]) == (True, "hit", "exact")
    assert second["choices"] == first["choices"]
    assert second["usage"] == first["usage"]
    assert (second["sentinella"]["cost_usd"], second["sentinella"]["attempts"]) == (0, [])
    assert second["sentinella"]["request_id"] != first["sentinella"]["request_id"]
    assert asked(gateway.demo) == 1
    lines = gateway.calls(acme)
    assert [line["cached"] for line in lines] == [False, True]
    assert lines[1]["cost_usd"] in ("0.00", 0)


def test_a_near_question_is_answered_and_says_so(gateway: Gateway, client: httpx.Client) -> None:
    ask(client)
    told = ask(client, ALIKE)
    assert (mark(told)["status"], mark(told)["kind"]) == ("hit", "semantic")
    assert 0.85 <= mark(told)["similarity"] < 1
    assert mark(told)["entry_id"].startswith("ce_")
    other = ask(client, "What is the capital of Spain?")
    assert mark(other)["status"] == "miss"


def test_streamed_and_whole_answers_serve_each_other(gateway: Gateway, client: httpx.Client) -> None:
    said, _ = streamed(client, FRANCE)
    whole = ask(client)
    assert mark(whole)["status"] == "hit"
    assert whole["choices"][0]["message"]["content"] == said == "It is Paris."
    again, chunks = streamed(client, FRANCE, stream_options={"include_usage": True})
    assert again == said
    last = chunks[-1]
    assert (last["cached"], mark(last)["status"]) == (True, "hit")
    assert last["usage"]["total_tokens"] > 0
    assert asked(gateway.demo) == 1


def test_the_headers(client: httpx.Client) -> None:
    for expected in ("miss", "hit"):
        answer = client.post(CHAT, json=question(FRANCE))
        assert answer.headers["x-sentinella-cache"] == expected
        assert answer.headers["x-request-id"]
    assert answer.headers["x-sentinella-cost-usd"] == "0"


def test_tenants_do_not_see_each_other(gateway: Gateway, client: httpx.Client) -> None:
    ask(client)
    with gateway.client(gateway.tenant("other")) as other:
        assert mark(ask(other))["status"] == "miss"
        assert mark(ask(other, ALIKE))["kind"] == "semantic"
        assert other.delete("/v1/cache").json()["invalidated"] >= 1
    assert mark(ask(client))["status"] == "hit"


def test_hits_count_against_requests_not_against_cost(gateway: Gateway) -> None:
    gateway.demo.rule(reply={"text": "It is Paris."})
    with gateway.client(gateway.tenant(requests_per_day=3)) as client:
        for _ in range(3):
            ask(client)
        refused = client.post(CHAT, json=question(FRANCE))
    assert refused.status_code == 429
    assert asked(gateway.demo) == 1


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"text": "What is the weather in Oslo today?"}, "time"),
        ({"text": "Where is my order?"}, "personal"),
        ({"temperature": 1.5}, "temperature"),
        ({"cache": {"mode": "bypass"}}, "mode"),
        ({"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]}, "tools"),
    ],
)
def test_what_is_never_shared_says_why(
    gateway: Gateway, client: httpx.Client, fields: dict[str, Any], reason: str
) -> None:
    for _ in range(2):
        told = ask(client, **fields)
        assert (mark(told)["status"], mark(told)["reason"]) == ("bypass", reason)
    assert asked(gateway.demo) == 2


def test_refusals_and_cut_answers_are_not_kept(gateway: Gateway) -> None:
    gateway.demo.rule(reply={"text": "I'm sorry, but I can't help with that."})
    with gateway.client(gateway.tenant()) as client:
        for _ in range(2):
            assert mark(ask(client))["status"] == "miss"


def test_only_if_cached(client: httpx.Client) -> None:
    body = question(FRANCE)
    only = {"cache-control": "only-if-cached"}
    missed = client.post(CHAT, json=body, headers=only)
    assert (missed.status_code, missed.json()["error"]["code"]) == (504, "cache_miss")
    ask(client)
    assert client.post(CHAT, json=body, headers=only).json()["cached"] is True
    assert client.post(CHAT, json=body, headers={"cache-control": "no-cache"}).json()["cached"] is False


def test_with_the_openai_client(gateway: Gateway, acme: Key) -> None:
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=acme.key, max_retries=0) as client:
        for cached in (False, True):
            answer = client.chat.completions.create(
                model="gpt-4o-mini",
                messages=[{"role": "user", "content": FRANCE}],
                extra_body={"cache": {"ttl_s": 60}},
            )
            assert answer.choices[0].message.content == "It is Paris."
            assert (answer.model_extra or {})["cached"] is cached


def test_a_stampede_costs_one_call(gateway: Gateway, acme: Key) -> None:
    gateway.demo.clear()
    gateway.demo.rule(fault={"delay_s": 0.5})
    with gateway.client(acme) as client, ThreadPoolExecutor(20) as pool:
        told = list(pool.map(lambda number: ask(client, "Stampede?", user=f"u{number}"), range(20)))
    assert sum(one["cached"] for one in told) == 19
    assert asked(gateway.demo) == 1


def test_figures_entries_and_invalidation(gateway: Gateway, client: httpx.Client) -> None:
    ask(client, metadata={"cache_tags": "geo"})
    ask(client)
    ask(client, "How do whales sleep?")
    told = client.get("/v1/cache").json()
    assert (told["entries"], told["hits"], told["misses"]) == (2, {"exact": 1, "semantic": 0}, 2)
    assert float(told["saved_usd"]) > 0
    page = client.get("/v1/cache/entries").json()
    assert {entry["question"] for entry in page["data"]} == {FRANCE, "How do whales sleep?"}
    assert client.post("/v1/cache/invalidate", json={"tag": "geo"}).json() == {"invalidated": 1}
    assert mark(ask(client))["status"] == "miss"
    assert client.delete("/v1/cache").json() == {"invalidated": 2}
    assert client.post("/v1/cache/invalidate", json={}).status_code == 400


def test_semantic_hits_are_checked_on_the_tenants_account(tmp_path: Path) -> None:
    with running_gateway(tmp_path, env=CACHING) as gateway:
        gateway.demo.rule(reply={"text": "It is Paris."})
        acme = gateway.tenant()
        with gateway.client(acme) as client:
            ask(client)

            def checked() -> bool:
                """Every second one is, while little is known of a tenant."""
                assert mark(ask(client, ALIKE))["kind"] == "semantic"
                return bool(client.get("/v1/cache").json()["errors"]["checked"])

            wait_until(checked, 10)
            assert client.get("/v1/cache").json()["errors"]["wrong"] == 0
        # A check of a later hit may still be under way.
        wait_until(
            lambda: sum(not line["cached"] for line in gateway.calls(acme)) == asked(gateway.demo) >= 2, 10
        )


@pytest.mark.slow
def test_two_workers_and_a_restart(tmp_path: Path) -> None:
    quick = UNCHECKED | {"SENTINELLA_CACHE__FOLLOW_S": "0.2"}
    with running_gateway(tmp_path, workers=2, env=quick) as gateway:
        gateway.demo.rule(reply={"text": "It is Paris."})
        with gateway.client() as client:
            ask(client)
        before = asked(gateway.demo)
        for _ in range(20):
            with gateway.client() as client:  # each connection finds its own worker
                wait_until(lambda: mark(ask(client, ALIKE))["status"] == "hit", 10)
        gateway.stop()
        gateway.start()
        restarted = asked(gateway.demo)
        assert restarted <= before + 2
        with gateway.client() as client:
            assert mark(ask(client))["status"] == "hit"
            wait_until(lambda: mark(ask(client, "What's the capital city of France?"))["status"] == "hit", 10)
