"""Memory, a template, tools of the gateway, a stream, a failing model and the cache in one call, through the
clients that people use."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest
from langchain_openai import ChatOpenAI
from llama_index.core.base.llms.types import ChatMessage
from llama_index.llms.openai_like import OpenAILike

from tests import wild_servers as ws
from tests.gateway import CACHING, Gateway, Key, running_gateway
from tests.integration.test_tools import CITY, Tools

ENV = CACHING | {"SENTINELLA_TOOLS__NET__ALLOW": '["127.0.0.1/32"]'}
EVERYTHING: dict[str, Any] = {
    "session_id": "trip",
    "tool_execution": "gateway",
    "template": {"name": "guide", "variables": {"city": "Rome"}},
}
Client = Callable[[Gateway, Key, str], str]


def official(gateway: Gateway, key: Key, text: str) -> str:
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=key.key, max_retries=0) as client:
        stream = client.chat.completions.create(
            model="gpt-4o-mini",
            messages=[{"role": "user", "content": text}],
            stream=True,
            extra_body=EVERYTHING,
        )
        return "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)


def langchain(gateway: Gateway, key: Key, text: str) -> str:
    model = ChatOpenAI(
        model="gpt-4o-mini",
        base_url=f"{gateway.url}/v1",
        api_key=key.key,  # type: ignore[arg-type]
        max_retries=0,
        extra_body=EVERYTHING,
    )
    return "".join(str(chunk.content) for chunk in model.stream(text))


def llamaindex(gateway: Gateway, key: Key, text: str) -> str:
    model = OpenAILike(
        model="gpt-4o-mini",
        api_base=f"{gateway.url}/v1",
        api_key=key.key,
        is_chat_model=True,
        max_retries=0,
        additional_kwargs={"extra_body": EVERYTHING},
    )
    return "".join(part.delta or "" for part in model.stream_chat([ChatMessage(role="user", content=text)]))


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running_gateway(tmp_path_factory.mktemp("together"), env=ENV) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def tools() -> Iterator[Tools]:
    with Tools() as found:
        yield found


@pytest.fixture
def key(gateway: Gateway, tools: Tools) -> Key:
    gateway.demo.clear()
    tools.server.paths["/v1/Rome"] = ws.says('{"celsius": 21}')
    key = gateway.tenant()
    with gateway.client(key) as http:
        tool = {"name": "weather", "parameters": CITY, "url": tools.url("/v1/{city}")}
        http.post("/v1/tools", json=tool).raise_for_status()
        guide = {
            "name": "guide",
            "messages": [{"role": "system", "content": "You guide people through {city}."}],
            "variables": ["city"],
        }
        http.post("/v1/templates", json=guide).raise_for_status()
    return key


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("client", [official, langchain, llamaindex], ids=lambda client: client.__name__)
def test_all_of_it_in_one_call(gateway: Gateway, key: Key, client: Client) -> None:
    demo = gateway.demo
    demo.rule(provider="openai", fault={"status": 503})
    wants = {"tool_calls": [{"name": "weather", "arguments": {"city": "Rome"}}], "text": "Let me see. "}
    demo.rule(times=1, reply=wants)
    demo.rule(reply={"chunks": ["It is ", "warm."]})

    assert client(gateway, key, "How is it today?") == "Let me see. It is warm."
    assert client(gateway, key, "And tonight?") == "It is warm."

    asked = json.dumps(demo.requests()[-1]["body"])
    for part in ("guide people through Rome", "How is it today?", "celsius", "It is warm.", "And tonight?"):
        assert part in asked
    assert demo.requests()[-1]["provider"] != "openai"
    lines = gateway.calls(key)
    assert [(line["status"], line["cached"]) for line in lines] == [("success", False)] * 2
    assert all(line["model"] != "gpt-4o-mini" and float(line["cost_usd"]) > 0 for line in lines)
    assert gateway.held(key.tenant) == []


def test_a_template_without_tools_is_answered_from_the_cache(gateway: Gateway, key: Key) -> None:
    gateway.demo.rule(reply={"text": "See the Colosseum."})
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=key.key, max_retries=0) as client:
        answers = [
            client.chat.completions.create(
                model="gpt-4o-mini",
                messages=[{"role": "user", "content": "What should one see?"}],
                extra_body={"template": EVERYTHING["template"]},
            )
            for _ in range(2)
        ]
        other = client.chat.completions.create(
            model="gpt-4o-mini",
            messages=[{"role": "user", "content": "What should one see?"}],
            extra_body={"template": {"name": "guide", "variables": {"city": "Oslo"}}},
        )
    assert [answer.to_dict()["cached"] for answer in (*answers, other)] == [False, True, False]
    assert len(gateway.demo.requests()) == 2


def test_a_tenant_of_a_deleted_ones_name_inherits_nothing(gateway: Gateway, key: Key) -> None:
    gateway.demo.rule(reply={"text": "Noted."})
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "My secret is blue."}]}
    with gateway.client(key) as http:
        for extra in ({}, {}, {"session_id": "s"}):
            http.post("/v1/chat/completions", json=body | extra).raise_for_status()
    gateway.admin.delete(f"/v1/tenants/{key.tenant}").raise_for_status()
    gateway.admin.post("/v1/tenants", json={"id": key.tenant}).raise_for_status()
    with gateway.client(gateway.key(key.tenant)) as http:
        for path in ("/v1/sessions", "/v1/templates", "/v1/tools", "/v1/cache/entries"):
            assert http.get(path).raise_for_status().json()["data"] == [], path
        assert http.post("/v1/chat/completions", json=body).json()["cached"] is False


def test_equal_embeddings_are_asked_once_and_cost_once(gateway: Gateway, key: Key) -> None:
    body = {"model": "text-embedding-3-small", "input": "the same words"}
    with gateway.client(key) as http, gateway.client(gateway.tenant()) as stranger:
        first = http.post("/v1/embeddings", json=body).raise_for_status().json()
        asked = len(gateway.demo.requests())
        second = http.post("/v1/embeddings", json=body).raise_for_status().json()
        assert second["data"][0]["embedding"] == first["data"][0]["embedding"]
        assert len(gateway.demo.requests()) == asked == 1
        stranger.post("/v1/embeddings", json=body).raise_for_status()
        assert len(gateway.demo.requests()) == 2
    lines = gateway.calls(key)
    assert float(lines[0]["cost_usd"]) > 0 and float(lines[1]["cost_usd"]) == 0
