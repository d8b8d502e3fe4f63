"""Conversations through the real proxy."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import openai
import pytest

from tests.gateway import Gateway, Key, question, running_gateway
from tests.servers import wait_until

CHAT = "/v1/chat/completions"
QUICK = {
    "SENTINELLA_MEMORY__LEASE_S": "3",
    "SENTINELLA_MEMORY__HEARTBEAT_S": "1",
    "SENTINELLA_MEMORY__SUMMARISE_AFTER": "6",
    "SENTINELLA_MEMORY__KEEP_LAST": "2",
}


@pytest.fixture
def acme(gateway: Gateway) -> Key:
    return gateway.tenant()


@pytest.fixture
def client(gateway: Gateway, acme: Key) -> Iterator[httpx.Client]:
    with gateway.client(acme) as client:
        yield client


def ask(client: httpx.Client, text: str, session: str = "s", **fields: object) -> httpx.Response:
    return client.post(CHAT, json=question(text, session_id=session, **fields))


def prompts(gateway: Gateway) -> list[list[Any]]:
    """What the models were shown, call by call."""
    return [[m["content"] for m in one["body"]["messages"]] for one in gateway.demo.requests()]


def kept(client: httpx.Client, session: str = "s") -> list[str]:
    page = client.get(f"/v1/sessions/{session}/messages", params={"limit": 100}).raise_for_status().json()
    return [one["message"]["content"] for one in page["data"]]


def test_history_is_recalled_whole_and_streamed(gateway: Gateway, client: httpx.Client) -> None:
    gateway.demo.rule(reply={"text": "noted"})
    ask(client, "one").raise_for_status()
    ask(client, "two", stream=True).raise_for_status()
    ask(client, "three").raise_for_status()
    assert prompts(gateway)[-1] == ["one", "noted", "two", "noted", "three"]
    assert kept(client) == ["one", "noted", "two", "noted", "three", "noted"]
    assert "session_id" not in json.dumps([one["body"] for one in gateway.demo.requests()])


def test_the_header_names_a_session_too(gateway: Gateway, acme: Key, client: httpx.Client) -> None:
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=acme.key, max_retries=0) as other:
        for text in ("one", "two"):
            other.chat.completions.create(
                model="gpt-4o-mini",
                messages=[{"role": "user", "content": text}],
                extra_headers={"x-session-id": "from-header"},
            )
    assert len(kept(client, "from-header")) == 4


def test_failed_and_cut_calls_leave_no_trace(gateway: Gateway, client: httpx.Client) -> None:
    ask(client, "kept").raise_for_status()
    before = kept(client)
    gateway.demo.rule(fault={"status": 400, "message": "no"})
    assert ask(client, "lost").status_code == 400
    gateway.demo.clear()
    gateway.demo.rule(fault={"stall_after": 2, "stall_s": 5})
    with client.stream("POST", CHAT, json=question("cut", session_id="s", stream=True)) as answer:
        next(answer.iter_lines())
    gateway.demo.clear()
    ask(client, "after").raise_for_status()
    assert kept(client)[:2] == before and kept(client)[2] == "after" and len(kept(client)) == 4


def test_other_tenants_see_nothing(gateway: Gateway, client: httpx.Client) -> None:
    ask(client, "secret").raise_for_status()
    with gateway.client(gateway.tenant("other")) as stranger:
        for method, path in (("GET", ""), ("GET", "/messages"), ("GET", "/export"), ("DELETE", "")):
            answer = stranger.request(method, f"/v1/sessions/s{path}")
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "session_not_found")
        assert stranger.get("/v1/sessions").json()["data"] == []
        ask(stranger, "hello").raise_for_status()
    assert prompts(gateway)[-1] == ["hello"]


def test_the_same_idempotency_key_keeps_one_turn(client: httpx.Client) -> None:
    for _ in range(2):
        answer = client.post(CHAT, json=question("once", session_id="i"), headers={"Idempotency-Key": "k1"})
        assert answer.status_code == 200
    assert len(kept(client, "i")) == 2


@pytest.mark.slow
def test_two_workers_summarise_keep_order_and_survive_a_kill(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("memory")
    with running_gateway(folder, workers=2, env=QUICK) as gateway:
        key = gateway.tenant()
        asyncio.run(_at_once(gateway, key, 12))
        with gateway.client(key) as client:
            said = kept(client)
            assert len(said) == 24
            assert sorted(said[::2], key=int) == [str(number) for number in range(12)]
            wait_until(lambda: client.get("/v1/sessions/s").json()["summary"] is not None)
            assert len(gateway.calls(key)) > 12, "the summary stands in the ledger"
            gateway.demo.rule(contains="killed", fault={"delay_s": 30})
            with ThreadPoolExecutor(1) as elsewhere:
                dying = elsewhere.submit(ask, client, "killed")
                wait_until(lambda: gateway.demo.counts()["in_flight"] == 1)
                gateway.kill9()
                assert isinstance(dying.exception(), httpx.HTTPError)
            gateway.workers = 1
            gateway.start()
            assert kept(client) == said
            assert ask(client, "12").status_code == 200
            assert kept(client)[24] == "12"


async def _at_once(gateway: Gateway, key: Key, number: int) -> None:
    async with httpx.AsyncClient(
        base_url=gateway.url, headers=key.headers, timeout=60, trust_env=False
    ) as client:
        calls = (client.post(CHAT, json=question(str(n), session_id="s")) for n in range(number))
        assert {answer.status_code for answer in await asyncio.gather(*calls)} == {200}
