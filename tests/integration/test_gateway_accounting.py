"""The books: every call of every route is one line, with real usage and the exact price."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from decimal import ROUND_HALF_EVEN, Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import pytest

from sentinella_plugins.demo import Demo
from sentinella_plugins.kernel.money import nano
from tests.gateway import Gateway, Key, events, question

CHAT = "/v1/chat/completions"
SAID = {"prompt": 1234, "completion": 567}
ROUTES: dict[str, dict[str, Any]] = {
    CHAT: question(),
    "/v1/completions": {"model": "gpt-4o-mini", "prompt": "Say something."},
    "/v1/responses": {"model": "gpt-4o-mini", "input": "Say something."},
    "/v1/messages": {
        "model": "claude-haiku-5-5",
        "max_tokens": 50,
        "messages": [{"role": "user", "content": "Say something."}],
    },
}
EMBEDDINGS = "/v1/embeddings"
EMBED = {"model": "text-embedding-3-small", "input": ["one", "two"]}
UPSTREAM = {"gpt-4o-mini": "gpt-4o-mini", "claude-haiku-5-5": "claude-haiku-5-5"}
OURS = ("x-request-id", "x-sentinella-cache", "x-sentinella-model", "x-sentinella-cost-usd")
STEERING = {
    "api_base": "http://127.0.0.1:9/v1",
    "base_url": "http://127.0.0.1:9/v1",
    "api_key": "sk-mine",
    "api_version": "1",
    "custom_llm_provider": "openai",
    "mock_response": "free lunch",
    "fallbacks": ["gpt-4o"],
    "extra_headers": {"x": "y"},
    "litellm_params": {},
    "litellm_metadata": {},
    "model_list": [],
    "num_retries": 5,
    "organization": "org",
    "input_cost_per_token": 0,
    "aws_region_name": "eu-1",
    "vertex_project": "p",
    "cache": {"no-cache": True},
    "guardrails": [],
    "mock_timeout": True,
    "proxy_server_request": {},
    "litellm_call_id": "mine",
    "timeout": 0.001,
    "caching": True,
    "ttl": 5,
    "tags": ["x"],
    "litellm_trace_id": "mine",
    "model_info": {"id": "x"},
    "client": "x",
    "context_window_fallbacks": [],
    "content_policy_fallbacks": [],
    "max_retries": 9,
    "use_in_pass_through": True,
    "litellm_logging_obj": {},
    "no-log": True,
    "disable_fallbacks": True,
    "default_fallbacks": ["gpt-4o"],
    "acompletion": True,
    "azure_ad_token": "x",
    "s3_bucket_name": "x",
    "prompt_id": "x",
    "enable_json_schema_validation": True,
    "specific_deployment": True,
    "user_api_key": "x",
    "secret_fields": {},
    "router_settings_override": {},
    "mock_testing_fallbacks": True,
}
STEERING_HEADERS = {
    "x-litellm-timeout": "0.001",
    "x-litellm-num-retries": "9",
    "x-litellm-tags": "mine",
    "x-litellm-call-id": "mine",
    "x-litellm-spend-logs-metadata": "{}",
    "cache-control": "no-store",
}


@pytest.fixture(scope="session")
def prices() -> dict[str, Any]:
    """LiteLLM's price map, read as the file it is."""
    found = find_spec("litellm")
    assert found is not None and found.origin is not None
    file = Path(found.origin).with_name("model_prices_and_context_window_backup.json")
    return dict(json.loads(file.read_text()))


def price(card: dict[str, Any], prompt: int, completion: int, cached: int = 0) -> int:
    """Nano-dollars, exactly."""
    per_token = {name: Decimal(str(card[name])) for name in card if name.endswith("cost_per_token")}
    read = Decimal(str(card.get("cache_read_input_token_cost", card["input_cost_per_token"])))
    total = (prompt - cached) * per_token["input_cost_per_token"] + cached * read
    total += completion * per_token.get("output_cost_per_token", Decimal(0))
    return int((total * 10**9).to_integral_value(ROUND_HALF_EVEN))


def ask(gateway: Gateway, key: Key, path: str, **fields: object) -> httpx.Response:
    body = {**(EMBED if path == EMBEDDINGS else ROUTES[path]), **fields}
    return httpx.post(gateway.url + path, json=body, headers=key.headers, timeout=60, trust_env=False)


def only_line(gateway: Gateway, key: Key) -> dict[str, Any]:
    (line,) = gateway.calls(key)
    return line


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", ROUTES)
def test_every_route_is_counted(
    gateway: Gateway, demo: Demo, prices: dict[str, Any], path: str, stream: bool
) -> None:
    demo.rule(reply={"chunks": 5, "usage": SAID})
    key = gateway.tenant(requests_per_day=5, cost_per_day_usd="5")
    answer = ask(gateway, key, path, stream=stream)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream" if stream else "application/json")
    line = only_line(gateway, key)
    model = ROUTES[path]["model"]
    assert line["id"] == answer.headers["x-request-id"] and line["route"] == path
    assert (line["status"], line["stream"], line["model"], line["key"]) == ("success", stream, model, key.id)
    assert line["provider"] == ("anthropic" if path == "/v1/messages" else "openai")
    assert (line["prompt_tokens"], line["completion_tokens"]) == (1234, 567), "real usage, not the estimate"
    assert nano(line["cost_usd"]) == price(prices[model], 1234, 567)
    assert all(answer.headers.get(name) for name in OURS)
    assert answer.headers["x-ratelimit-remaining-requests"] == "4"
    if stream:
        assert answer.headers["x-sentinella-cost-usd"] == "pending"
    else:
        assert nano(answer.headers["x-sentinella-cost-usd"]) == nano(line["cost_usd"])
    assert len(demo.requests()) == 1


def test_embeddings_are_counted(gateway: Gateway, prices: dict[str, Any]) -> None:
    key = gateway.tenant(requests_per_day=5, cost_per_day_usd="5")
    answer = ask(gateway, key, EMBEDDINGS)
    assert answer.status_code == 200 and len(answer.json()["data"]) == 2
    used = answer.json()["usage"]["prompt_tokens"]
    line = only_line(gateway, key)
    assert used > 0 and line["prompt_tokens"] == used and line["completion_tokens"] == 0
    assert nano(line["cost_usd"]) == price(prices["text-embedding-3-small"], used, 0)
    assert line["model"] == "text-embedding-3-small" and line["route"] == EMBEDDINGS
    assert all(answer.headers.get(name) for name in OURS)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "model,upstream",
    [
        ("gpt-4o", "gpt-4o"),
        ("claude-sonnet-5-5", "claude-sonnet-5-5"),
        ("gemini-2.5-flash", "gemini/gemini-2.5-flash"),
        ("mistral-large", "mistral/mistral-large-latest"),
        ("command-a-03-2025", "command-a-03-2025"),
        ("grok-4.7", "xai/grok-4.7"),
        ("gpt-oss-120b", "groq/openai/gpt-oss-120b"),
    ],
)
def test_to_the_nano_dollar(
    gateway: Gateway, demo: Demo, prices: dict[str, Any], model: str, upstream: str, stream: bool
) -> None:
    demo.rule(reply={"chunks": 5, "usage": SAID})
    key = gateway.tenant()
    assert ask(gateway, key, CHAT, model=model, stream=stream).status_code == 200
    line = only_line(gateway, key)
    assert (line["prompt_tokens"], line["completion_tokens"]) == (1234, 567)
    assert nano(line["cost_usd"]) == price(prices[upstream], 1234, 567)


@pytest.mark.parametrize("stream", [False, True])
def test_cached_tokens_are_cheaper(
    gateway: Gateway, demo: Demo, prices: dict[str, Any], stream: bool
) -> None:
    demo.rule(reply={"text": "Yes.", "usage": {"prompt": 2000, "completion": 10, "cached": 1500}})
    key = gateway.tenant()
    ask(gateway, key, CHAT, stream=stream).raise_for_status()
    line = only_line(gateway, key)
    assert line["cached_tokens"] == 1500
    assert nano(line["cost_usd"]) == price(prices["gpt-4o-mini"], 2000, 10, 1500)


def test_times_are_told(gateway: Gateway, demo: Demo) -> None:
    demo.rule(reply={"chunks": 4}, fault={"first_token_delay_s": 0.3, "stall_after": 2, "stall_s": 0.5})
    key = gateway.tenant()
    ask(gateway, key, CHAT, stream=True).raise_for_status()
    line = only_line(gateway, key)
    assert 300 <= line["first_token_ms"] < 700 and 800 <= line["latency_ms"] < 2000
    assert line["attempts"][0]["model"] == "gpt-4o-mini" and line["attempts"][0]["status"] == "success"


def test_usage_sums(gateway: Gateway, demo: Demo) -> None:
    demo.rule(reply={"text": "Yes.", "usage": SAID})
    key = gateway.tenant()
    second = gateway.key(key.tenant)
    for path in ROUTES:
        ask(gateway, key, path).raise_for_status()
    ask(gateway, second, CHAT, model="gpt-4").raise_for_status()
    with gateway.client(key) as client:
        by_model = client.get("/v1/usage", params={"group_by": "model"}).json()
        by_key = client.get("/v1/usage", params={"group_by": "key"}).json()
        text = client.get("/v1/usage", params={"group_by": "day,model", "format": "csv"}).text
    lines = gateway.calls(key)
    spent = sum(nano(line["cost_usd"]) for line in lines)
    assert by_model["total"]["requests"] == 5 == by_key["total"]["requests"]
    assert by_model["total"]["prompt_tokens"] == 5 * 1234
    assert nano(by_model["total"]["cost_usd"]) == nano(by_key["total"]["cost_usd"]) == spent > 0
    assert {row["model"]: row["requests"] for row in by_model["data"]} == {
        "gpt-4o-mini": 3,
        "claude-haiku-5-5": 1,
        "gpt-4.1": 1,
    }
    assert {row["key"]: row["requests"] for row in by_key["data"]} == {key.id: 4, second.id: 1}
    assert {line["requested_model"] for line in lines} == {"gpt-4o-mini", "claude-haiku-5-5", "gpt-4"}
    rows = list(csv.DictReader(io.StringIO(text)))
    assert (
        sum(nano(row["cost_usd"]) for row in rows) == spent and sum(int(row["requests"]) for row in rows) == 5
    )


@pytest.mark.parametrize("path", [*ROUTES, EMBEDDINGS])
def test_nobody_steers_litellm(gateway: Gateway, demo: Demo, path: str) -> None:
    key = gateway.tenant()
    answers = {field: ask(gateway, key, path, **{field: given}) for field, given in STEERING.items()}
    let_in = {field: answer.status_code for field, answer in answers.items() if answer.status_code != 400}
    assert not let_in
    assert all(field in answer.json()["error"]["message"] for field, answer in answers.items())
    assert demo.counts()["total"] == 0


@pytest.mark.parametrize("path", [*ROUTES, EMBEDDINGS])
def test_nobody_steers_litellm_by_query_or_header(gateway: Gateway, demo: Demo, path: str) -> None:
    body = EMBED if path == EMBEDDINGS else ROUTES[path]
    key = gateway.tenant(models=[body["model"]])
    answer = httpx.post(
        f"{gateway.url}{path}?model=gpt-4o&api-version=2020-01-01&beta=true",
        json=body,
        headers={**key.headers, **STEERING_HEADERS},
        timeout=60,
        trust_env=False,
    )
    assert answer.status_code == 200, answer.text
    assert [asked["model"] for asked in demo.requests()] == [body["model"]]
    assert only_line(gateway, key)["id"] == answer.headers["x-request-id"] != "mine"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", [*ROUTES, EMBEDDINGS])
def test_nothing_inside_shows_in_headers(gateway: Gateway, path: str, stream: bool) -> None:
    fields = {"stream": True} if stream and path != EMBEDDINGS else {}
    answer = ask(gateway, gateway.tenant(), path, **fields)
    assert answer.status_code == 200
    assert gateway.demo.url not in str(dict(answer.headers)), "where the upstream is, is no tenant's business"
    assert [name for name in answer.headers if name.startswith(("x-litellm", "llm_provider"))] == []


@pytest.mark.parametrize("path", [*ROUTES, EMBEDDINGS])
def test_every_route_is_limited(gateway: Gateway, path: str) -> None:
    key = gateway.tenant(requests_per_day=1)
    assert ask(gateway, key, path).status_code == 200
    refusal = ask(gateway, key, path)
    assert refusal.status_code == 429 and refusal.json()["error"]["code"] == "rate_limit_day"
    assert refusal.headers["retry-after"] and refusal.headers["x-request-id"]
    poor = gateway.tenant(cost_per_day_usd="0")
    assert ask(gateway, poor, path).json()["error"]["code"] == "cost_limit_day"


@pytest.fixture
def claude(gateway: Gateway) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=gateway.url, api_key=gateway.api_key, max_retries=0) as client:
        yield client


class TestAnthropicsClient:
    ASKED: dict[str, Any] = ROUTES["/v1/messages"]

    def test_whole(self, claude: anthropic.Anthropic, demo: Demo) -> None:
        demo.rule(reply={"text": "Paris.", "usage": SAID})
        answer = claude.messages.create(**self.ASKED)
        assert (
            answer.type == "message"
            and answer.content[0].type == "text"
            and answer.content[0].text == "Paris."
        )
        assert (answer.usage.input_tokens, answer.usage.output_tokens) == (1234, 567)
        assert answer.stop_reason == "end_turn"

    def test_streamed(self, claude: anthropic.Anthropic, demo: Demo) -> None:
        demo.rule(reply={"chunks": ["Pa", "ris", "."], "usage": SAID})
        with claude.messages.stream(**self.ASKED) as stream:
            texts = list(stream.text_stream)
            final = stream.get_final_message()
        assert "".join(texts) == "Paris." and final.usage.output_tokens == 567

    def test_an_openai_model(self, claude: anthropic.Anthropic, demo: Demo) -> None:
        demo.rule(reply={"text": "Paris."})
        answer = claude.messages.create(**{**self.ASKED, "model": "gpt-4o-mini"})
        assert answer.content[0].type == "text" and answer.content[0].text == "Paris."

    def test_errors(self, claude: anthropic.Anthropic, gateway: Gateway) -> None:
        key = gateway.tenant(requests_per_day=0)
        with pytest.raises(anthropic.RateLimitError):
            claude.with_options(api_key=key.key).messages.create(**self.ASKED)
        with pytest.raises(anthropic.AuthenticationError):
            claude.with_options(api_key="sk-wrong").messages.create(**self.ASKED)
        with pytest.raises(anthropic.NotFoundError):
            claude.messages.create(**{**self.ASKED, "model": "no-such-model"})


class TestOpenAIsClientOnOtherRoutes:
    @pytest.fixture
    def client(self, gateway: Gateway) -> Iterator[openai.OpenAI]:
        with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.api_key, max_retries=0) as client:
            yield client

    def test_embeddings(self, client: openai.OpenAI) -> None:
        answer = client.embeddings.create(model="text-embedding-3-small", input=["one", "two"])
        assert len(answer.data) == 2 and len(answer.data[0].embedding) > 10 and answer.usage.prompt_tokens > 0

    def test_responses(self, client: openai.OpenAI, demo: Demo) -> None:
        demo.rule(reply={"text": "Paris."})
        assert client.responses.create(model="gpt-4o-mini", input="?").output_text == "Paris."
        with client.responses.stream(model="gpt-4o-mini", input="?") as stream:
            stream.until_done()
            assert stream.get_final_response().output_text == "Paris."

    def test_completions(self, client: openai.OpenAI, demo: Demo) -> None:
        demo.rule(reply={"text": "Paris."})
        assert client.completions.create(model="gpt-4o-mini", prompt="?").choices[0].text == "Paris."
        with client.completions.create(model="gpt-4o-mini", prompt="?", stream=True) as stream:
            chunks = list(stream)
        assert "".join(chunk.choices[0].text for chunk in chunks) == "Paris."
        assert all(chunk.usage is None for chunk in chunks), "nobody asked for usage"
        assert all(chunk.choices for chunk in chunks)

    def test_completions_with_usage(self, client: openai.OpenAI, demo: Demo) -> None:
        demo.rule(reply={"chunks": 3, "usage": SAID})
        asked = {"include_usage": True}
        with client.completions.create(
            model="gpt-4o-mini",
            prompt="?",
            stream=True,
            stream_options=asked,  # type: ignore[arg-type]
        ) as stream:
            chunks = list(stream)
        assert [chunk.usage.completion_tokens for chunk in chunks if chunk.usage] == [567]
        assert chunks[-1].choices == [] and chunks[-1].usage


def test_the_last_event_of_each_stream(gateway: Gateway) -> None:
    key = gateway.tenant()
    last = {path: events(ask(gateway, key, path, stream=True).text.splitlines())[-1] for path in ROUTES}
    assert last[CHAT] == last["/v1/completions"] == "[DONE]"
    assert last["/v1/responses"] == "[DONE]"  # LiteLLM's own endpoint ends so
    assert json.loads(last["/v1/messages"])["type"] == "message_stop"


@pytest.mark.parametrize("path", [*ROUTES, EMBEDDINGS])
def test_failed_calls_cost_nothing(gateway: Gateway, demo: Demo, path: str) -> None:
    demo.rule(fault={"status": 400, "message": "The upstream does not like this."})
    key = gateway.tenant(requests_per_day=1, cost_per_day_usd="1", max_concurrency=1)
    for _ in range(2):
        answer = ask(gateway, key, path)
        assert 400 <= answer.status_code < 600 and answer.status_code != 429, answer.text
    assert gateway.held(key.tenant) == []
    assert {(line["status"], line["cost_usd"]) for line in gateway.calls(key)} == {("error", "0.00")}
    demo.clear()
    assert ask(gateway, key, path).status_code == 200
