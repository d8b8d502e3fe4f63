"""Chat through the real proxy with OpenAI's own clients."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator

import httpx
import openai
import pytest
import pytest_asyncio
import yaml

from sentinella_plugins.demo import Demo
from tests.gateway import METERED, SHIPPED, Gateway, events, question

USER = [{"role": "user", "content": "What is the capital of France?"}]
DEPLOYMENTS = {entry["model_name"]: entry for entry in yaml.safe_load(SHIPPED.read_text())["model_list"]}
CHAT = [name for name, entry in DEPLOYMENTS.items() if entry.get("model_info", {}).get("mode") != "embedding"]
PROMISED = [
    "gpt-4o",
    "gpt-4o-mini",
    "gpt-4-turbo",
    "gpt-4",
    "gpt-3.5-turbo",
    "gpt-4-1106-preview",
    "gpt-4-0125-preview",
    "claude-3-5-sonnet-20241022",
    "claude-3-opus-20240229",
    "claude-3-sonnet-20240229",
    "claude-3-haiku-20240307",
    "gemini-pro",
    "gemini-pro-vision",
    "gemini-1.5-pro",
    "gemini-1.5-flash",
    "gemini-ultra",
    "grok-beta",
    "grok-2",
    "deepseek-chat",
    "deepseek-coder",
    "command",
    "command-light",
    "mistral-large",
    "mistral-medium",
    "mistral-small",
    "llama-3-70b",
    "llama-3-8b",
]
ONE_OF_EACH = [
    "gpt-4o",
    "claude-haiku-5-5",
    "gemini-2.5-flash",
    "grok-4.7",
    "deepseek-v4-flash",
    "command-a-03-2025",
    "mistral-large",
    "llama-3-70b",
    "llama-3.1-8b",
]
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
PLACE = {
    "type": "json_schema",
    "json_schema": {
        "name": "place",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "people": {"type": "integer"}},
            "required": ["city", "people"],
            "additionalProperties": False,
        },
    },
}
OURS = ("x-request-id", "x-sentinella-cache", "x-sentinella-model", "x-sentinella-cost-usd")


@pytest.fixture
def client(gateway: Gateway) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.api_key, max_retries=0) as client:
        yield client


@pytest_asyncio.fixture
async def aclient(gateway: Gateway) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=f"{gateway.url}/v1", api_key=gateway.api_key, max_retries=0
    ) as client:
        yield client


def test_answers_the_sync_client(client: openai.OpenAI, demo: Demo) -> None:
    demo.rule(reply={"text": "Paris.", "usage": {"prompt": 14, "completion": 3}})
    raw = client.chat.completions.with_raw_response.create(model="gpt-4o-mini", messages=USER)  # type: ignore[call-overload]
    answer = raw.parse()
    assert answer.object == "chat.completion" and answer.id and answer.created > 1_700_000_000
    assert answer.model == "gpt-4o-mini"
    assert answer.choices[0].message.content == "Paris." and answer.choices[0].message.role == "assistant"
    assert answer.choices[0].finish_reason == "stop" and answer.choices[0].index == 0
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (
        14,
        3,
        17,
    )
    extra = answer.model_extra
    assert extra["cached"] is False and extra["latency_ms"] > 0
    ours = extra["sentinella"]
    assert ours["tenant"] == "default" and ours["model"] == "gpt-4o-mini" and ours["provider"] == "openai"
    assert ours["request_id"] == raw.headers["x-request-id"]
    assert ours["cache"]["status"] in ("miss", "bypass") and ours["budget_left"] == {}
    assert set(ours["routing"]) == {"reason", "task", "complexity", "candidates"}
    assert [attempt["status"] for attempt in ours["attempts"]] == ["success"]
    assert ours["cost_usd"] > 0 and float(raw.headers["x-sentinella-cost-usd"]) == ours["cost_usd"]
    assert raw.headers["x-sentinella-model"] == "gpt-4o-mini"
    assert raw.headers["x-sentinella-cache"] in ("miss", "bypass")


def test_no_call_closes_the_short_road(gateway: Gateway) -> None:
    """LiteLLM enters callbacks of its own while it works; its client names itself to the upstream."""
    with gateway.client() as client:
        for model in ONE_OF_EACH:
            for stream in (False, True):
                client.post("/v1/chat/completions", json=question("Hello", model=model, stream=stream))
        for path, body in METERED.items():
            client.post(path, json=body).raise_for_status()
        client.post("/v1/chat/completions", json=question("And now?")).raise_for_status()
    last = gateway.demo.requests()[-1]
    assert (last["provider"], last["body"]["messages"][-1]["content"]) == ("openai", "And now?")
    assert "x-stainless-lang" not in last["headers"]


@pytest.mark.asyncio
async def test_answers_the_async_client(aclient: openai.AsyncOpenAI, demo: Demo) -> None:
    demo.rule(reply={"text": "Paris."})
    answer = await aclient.chat.completions.create(model="claude-haiku-5-5", messages=USER)  # type: ignore[arg-type]
    assert answer.choices[0].message.content == "Paris." and answer.model == "claude-haiku-5-5"


def test_streams_to_the_sync_client(client: openai.OpenAI, demo: Demo) -> None:
    demo.rule(reply={"chunks": ["Pa", "ris", "."], "usage": {"prompt": 14, "completion": 3}})
    with client.chat.completions.create(model="gpt-4o-mini", messages=USER, stream=True) as stream:  # type: ignore[arg-type]
        chunks = list(stream)
    assert [c.choices[0].delta.content for c in chunks if c.choices and c.choices[0].delta.content] == [
        "Pa",
        "ris",
        ".",
    ]
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"} and len(
        {c.id for c in chunks}
    ) == 1
    assert {chunk.model for chunk in chunks} == {"gpt-4o-mini"}
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason] == [
        "stop"
    ]
    assert all(chunk.choices for chunk in chunks) and all(chunk.usage is None for chunk in chunks)
    assert all("sentinella" not in (chunk.model_extra or {}) for chunk in chunks[:-1])
    extra = chunks[-1].model_extra
    assert extra is not None and extra["sentinella"]["cost_usd"] > 0 and extra["latency_ms"] > 0
    assert extra["cached"] is False and extra["sentinella"]["tenant"] == "default"


@pytest.mark.asyncio
async def test_streams_usage_to_those_who_ask(aclient: openai.AsyncOpenAI, demo: Demo) -> None:
    demo.rule(reply={"chunks": 3, "usage": {"prompt": 14, "completion": 3}})
    async with await aclient.chat.completions.create(
        model="gpt-4o-mini",
        messages=USER,  # type: ignore[arg-type]
        stream=True,
        stream_options={"include_usage": True},
    ) as stream:
        chunks = [chunk async for chunk in stream]
    assert [chunk.usage for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    last = chunks[-1]
    assert last.choices == [] and last.usage is not None and last.usage.total_tokens == 17
    assert last.model_extra is not None and last.model_extra["sentinella"]["cost_usd"] > 0


def test_the_wire_of_a_stream(gateway: Gateway, demo: Demo) -> None:
    demo.rule(reply={"chunks": 4})
    with (
        gateway.client() as client,
        client.stream("POST", "/v1/chat/completions", json=question(stream=True)) as answer,
    ):
        lines = list(answer.iter_lines())
        assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/event-stream")
        assert all(answer.headers.get(name) for name in OURS)
    data = events(lines)
    assert data[-1] == "[DONE]" and "[DONE]" not in data[:-1]
    assert lines.count("") >= len(data), "every event ends with an empty line"
    assert set(json.loads(data[-2])["sentinella"]) == {
        *(
            "request_id",
            "tenant",
            "model",
            "provider",
            "routing",
            "cache",
            "cost_usd",
            "attempts",
            "budget_left",
        )
    }


def test_a_stream_is_not_held_back(gateway: Gateway, demo: Demo) -> None:
    demo.rule(reply={"chunks": 4}, fault={"stall_after": 2, "stall_s": 1.5})
    times = []
    with (
        gateway.client() as client,
        client.stream("POST", "/v1/chat/completions", json=question(stream=True)) as answer,
    ):
        for line in answer.iter_lines():
            if line.startswith("data: "):
                times.append(
                    answer.elapsed.total_seconds() if answer.is_closed else __import__("time").monotonic()
                )
    assert times[-1] - times[0] > 1.2, "the first chunks must not wait for the last"


@pytest.mark.parametrize("stream", [False, True])
def test_tools_make_the_round_trip(client: openai.OpenAI, demo: Demo, stream: bool) -> None:
    demo.rule(reply={"tool_calls": [{"name": "weather", "arguments": {"city": "Paris"}}]}, times=1)
    asked = {"model": "gpt-4o-mini", "messages": USER, "tools": [WEATHER]}
    if stream:
        with client.chat.completions.stream(**asked) as manager:  # type: ignore[arg-type]
            manager.until_done()
            choice = manager.get_final_completion().choices[0]
    else:
        choice = client.chat.completions.create(**asked).choices[0]  # type: ignore[call-overload]
    assert choice.finish_reason == "tool_calls"
    call = choice.message.tool_calls[0]
    assert call.id and call.type == "function" and call.function.name == "weather"
    assert json.loads(call.function.arguments) == {"city": "Paris"}
    told = {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": "weather", "arguments": call.function.arguments},
            }
        ],
    }
    result = {"role": "tool", "tool_call_id": call.id, "content": "18 degrees and sun"}
    answer = client.chat.completions.create(
        model="gpt-4o-mini", messages=[*USER, told, result], tools=[WEATHER]
    )  # type: ignore[list-item]
    assert "18 degrees and sun" in (answer.choices[0].message.content or "")
    assert demo.requests()[-1]["body"]["messages"][-1] == result


@pytest.mark.parametrize("model", ["gpt-4o", "claude-sonnet-5-5", "gemini-2.5-pro"])
def test_structured_output(client: openai.OpenAI, model: str) -> None:
    answer = client.chat.completions.create(model=model, messages=USER, response_format=PLACE)  # type: ignore[call-overload]
    place = json.loads(answer.choices[0].message.content)
    assert set(place) == {"city", "people"} and isinstance(place["people"], int)


@pytest.mark.parametrize("stream", [False, True])
def test_several_choices(gateway: Gateway, stream: bool) -> None:
    with gateway.client() as client:
        answer = client.post("/v1/chat/completions", json=question(n=3, stream=stream))
    assert answer.status_code == 200
    if not stream:
        choices = answer.json()["choices"]
        assert [c["index"] for c in choices] == [0, 1, 2] and all(c["message"]["content"] for c in choices)
        return
    texts: dict[int, str] = {}
    finished = []
    for data in events(answer.text.splitlines())[:-1]:
        for choice in json.loads(data)["choices"]:
            texts[choice["index"]] = texts.get(choice["index"], "") + (choice["delta"].get("content") or "")
            finished += [choice["index"]] if choice["finish_reason"] else []
    assert sorted(texts) == [0, 1, 2] and len(set(texts.values())) == 1 and "demo upstream" in texts[0]
    assert sorted(finished) == [0, 1, 2]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_a_short_answer_says_so(client: openai.OpenAI, stream: bool, field: str) -> None:
    given = client.chat.completions.create(model="gpt-4o-mini", messages=USER, stream=stream, **{field: 3})  # type: ignore[call-overload]
    if stream:
        with given:
            reasons = [c.finish_reason for chunk in given for c in chunk.choices if c.finish_reason]
        assert reasons == ["length"]
    else:
        assert given.choices[0].finish_reason == "length" and given.usage.completion_tokens == 3


def test_all_promised_names_are_configured() -> None:
    assert set(PROMISED) <= set(CHAT)


@pytest.mark.parametrize("model", CHAT)
def test_every_model_answers(client: openai.OpenAI, model: str) -> None:
    info = DEPLOYMENTS[model].get("model_info", {})
    answer = client.chat.completions.create(model=model, messages=USER)  # type: ignore[arg-type]
    assert "capital of France" in (answer.choices[0].message.content or "")
    assert answer.model == info.get("replaced_by", model), "the model that really answered is named"
    assert answer.usage is not None and answer.usage.completion_tokens > 0
    assert answer.model_extra is not None and answer.model_extra["sentinella"]["cost_usd"] > 0


@pytest.mark.parametrize("model", ONE_OF_EACH)
def test_every_provider_streams(client: openai.OpenAI, model: str) -> None:
    replaced = DEPLOYMENTS[model].get("model_info", {}).get("replaced_by", model)
    with client.chat.completions.create(model=model, messages=USER, stream=True) as stream:  # type: ignore[arg-type]
        chunks = list(stream)
    text = "".join(c.delta.content or "" for chunk in chunks for c in chunk.choices)
    assert "capital of France" in text and {chunk.model for chunk in chunks} == {replaced}
    assert [c.finish_reason for chunk in chunks for c in chunk.choices if c.finish_reason] == ["stop"]
    assert (chunks[-1].model_extra or {})["sentinella"]["cost_usd"] > 0


@pytest.mark.parametrize("given", [{}, {"model": None}, {"model": "auto"}])
@pytest.mark.parametrize("stream", [False, True])
def test_the_gateway_chooses_when_no_model_is_named(
    gateway: Gateway, given: dict[str, object], stream: bool
) -> None:
    with gateway.client() as client:
        answer = client.post("/v1/chat/completions", json={"messages": USER, "stream": stream, **given})
    assert answer.status_code == 200, answer.text
    body = json.loads(events(answer.text.splitlines())[-2]) if stream else answer.json()
    assert body["model"] in CHAT and body["model"] == answer.headers["x-sentinella-model"]
    assert body["model"] in body["sentinella"]["routing"]["candidates"]


@pytest.mark.parametrize(
    "path",
    ["/chat/completions", "/openai/deployments/gpt-4o/chat/completions", "/engines/gpt-4o/chat/completions"],
)
def test_other_paths_of_the_same_thing(gateway: Gateway, path: str) -> None:
    with gateway.client() as client:
        answer = client.post(path, json=question(model="gpt-4o" if path == "/chat/completions" else None))
    assert answer.status_code == 200 and answer.json()["model"] == "gpt-4o"
    assert answer.json()["sentinella"]["request_id"] == answer.headers["x-request-id"]


def test_azure_client(gateway: Gateway) -> None:
    with openai.AzureOpenAI(
        azure_endpoint=gateway.url,
        api_key=gateway.api_key,
        api_version="2024-10-21",
        max_retries=0,
        default_headers={"x-api-key": gateway.api_key},
    ) as client:
        answer = client.chat.completions.create(model="gpt-4o", messages=USER)  # type: ignore[arg-type]
    assert answer.model == "gpt-4o"


class TestWhatTheUpstreamSees:
    OWN = {
        "session_id": "chat-4711",
        "tool_execution": "client",
        "routing": {"objective": "cheapest"},
        "cache": {"mode": "bypass"},
    }

    @pytest.mark.parametrize("model", ONE_OF_EACH)
    @pytest.mark.parametrize("stream", [False, True])
    def test_nothing_of_ours(self, gateway: Gateway, demo: Demo, model: str, stream: bool) -> None:
        with gateway.client() as client:
            headers = {"x-custom": "mine", "x-sentinella-note": "mine"}
            body = question(model=model, stream=stream, **self.OWN)
            answer = client.post("/v1/chat/completions", json=body, headers=headers)
        assert answer.status_code == 200, answer.text
        (seen,) = demo.requests()
        text = json.dumps({**seen, "headers": {**seen["headers"], "host": ""}})
        for word in (
            "session_id",
            "chat-4711",
            "tool_execution",
            "routing",
            "objective",
            '"cache"',
            "sentinella",
        ):
            assert word not in text, f"`{word}` reached {model}: {text}"
        assert "x-custom" not in seen["headers"]
        assert gateway.api_key not in text and gateway.master_key not in text

    def test_what_the_client_asked_arrives(self, gateway: Gateway, demo: Demo) -> None:
        given = {
            "temperature": 0.3,
            "top_p": 0.5,
            "seed": 7,
            "stop": ["END"],
            "user": "u1",
            "presence_penalty": 0.1,
        }
        with gateway.client() as client:
            client.post("/v1/chat/completions", json=question(**given)).raise_for_status()
        (seen,) = demo.requests()
        assert {name: seen["body"].get(name) for name in given} == given
        assert seen["body"]["model"] == "gpt-4o-mini" and not seen["body"].get("stream")


def test_models_list(gateway: Gateway) -> None:
    with gateway.client() as client:
        listed = {card["id"]: card for card in client.get("/v1/models").raise_for_status().json()["data"]}
    assert set(listed) == set(DEPLOYMENTS)
    for name, entry in DEPLOYMENTS.items():
        info = entry.get("model_info", {})
        assert listed[name]["deprecated"] is bool(info.get("deprecated"))
        assert listed[name]["replaced_by"] == info.get("replaced_by")
        assert listed[name]["pricing"]["input_usd_per_million_tokens"] is not None, name
        assert listed[name]["demo"] is True


def test_health_is_public(gateway: Gateway, demo: Demo) -> None:
    answer = httpx.get(f"{gateway.url}/health", trust_env=False)
    assert answer.json() == {"status": "healthy", "cache": "connected", "version": "0.1.0"}
    assert demo.counts()["total"] == 0, "health never calls a model"
