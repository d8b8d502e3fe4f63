"""Upstreams that fail: the client hears the truth in OpenAI's shape, the ledger keeps it, nothing stays
held."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx
import openai
import pytest

from sentinella_plugins.demo import Demo
from tests.gateway import METERED, Gateway, Key, events, question, running_gateway

CHAT = "/v1/chat/completions"
FAULTS: dict[str, tuple[dict[str, Any], int, str]] = {
    "500": ({"status": 500}, 502, "upstream_error"),
    "503": ({"status": 503}, 503, "upstream_unavailable"),
    "429": ({"status": 429, "retry_after": 2}, 503, "upstream_rate_limited"),
    "401": ({"status": 401}, 502, "upstream_authentication"),
    "403": ({"status": 403}, 502, "upstream_permission"),
    "404": ({"status": 404}, 502, "upstream_model_not_found"),
    "400": ({"status": 400, "message": "Odd parameter."}, 400, "upstream_rejected_request"),
    "context": ({"status": 400, "code": "context_length_exceeded"}, 400, "context_length_exceeded"),
    "policy": ({"status": 400, "code": "content_policy_violation"}, 400, "content_filter"),
    "reset": ({"reset": True}, 502, "upstream_connection"),
}
UNCERTAIN: dict[str, dict[str, Any]] = {
    "garbage": {"garbage": True},
    "malformed": {"malformed_after": 0},
    "cut": {"cut_after": 0},
}


@pytest.fixture(scope="module")
def failing_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Its deployments do not cool down, so that one test's failure is not the next one's."""

    def change(config: dict[str, Any]) -> None:
        config["router_settings"]["disable_cooldowns"] = True

    folder = tmp_path_factory.mktemp("failing")
    env = {
        "SENTINELLA_FALLBACK__TOTAL_S": "6",
        # One model, one retry: what other models make of it is the failover tests' business.
        "SENTINELLA_FALLBACK__AUTOMATIC": "false",
        "SENTINELLA_FALLBACK__SAME_MODEL_RETRIES": "1",
        "SENTINELLA_FALLBACK__BREAKER__QUIET_FAILURES": "1000",
        "SENTINELLA_FALLBACK__BREAKER__CONSECUTIVE_FAILURES": "1000",
        "SENTINELLA_FALLBACK__BREAKER__MIN_CALLS": "1000",
    }
    with running_gateway(folder, yaml_changes=change, env=env) as gateway:
        for path in METERED:  # the first use of each loads much of LiteLLM
            ask_metered(gateway, gateway.default, path).raise_for_status()
        yield gateway


@pytest.fixture
def gateway(failing_gateway: Gateway) -> Gateway:
    failing_gateway.demo.clear()
    return failing_gateway


@pytest.fixture(autouse=True)
def nothing_stays_held(gateway: Gateway) -> Iterator[None]:
    yield
    gateway.demo.clear()
    assert gateway.held() == []
    assert "Traceback" not in json.dumps(gateway.admin.get("/v1/usage/calls").json())


def ask(gateway: Gateway, key: Key, **fields: Any) -> httpx.Response:
    return httpx.post(
        gateway.url + CHAT, json=question(**fields), headers=key.headers, timeout=60, trust_env=False
    )


def story(answer: httpx.Response) -> dict[str, Any]:
    """The error of an answer, which must be clean."""
    assert answer.headers["content-type"] == "application/json", answer.text
    error: dict[str, Any] = answer.json()["error"]
    assert {"message", "type", "param", "code", "attempts"} <= set(error) and error["message"]
    for word in ("Traceback", "litellm", "LiteLLM", "site-packages", "127.0.0.1", 'File "'):
        assert word not in answer.text, f"`{word}` in {answer.text}"
    assert answer.headers["x-request-id"] and answer.headers["x-sentinella-cost-usd"] == "0"
    for attempt in error["attempts"]:
        assert {"model", "provider", "status", "ms", "error"} <= set(attempt) and attempt["status"] == "error"
    assert error["attempts"]
    return error


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", FAULTS)
def test_errors_are_told(gateway: Gateway, demo: Demo, kind: str, stream: bool) -> None:
    fault, status, code = FAULTS[kind]
    demo.rule(fault=fault)
    key = gateway.tenant(requests_per_day=5, cost_per_day_usd="1")
    answer = ask(gateway, key, stream=stream)
    assert answer.status_code == status, answer.text
    error = story(answer)
    assert error["code"] == code and error["attempts"][0]["error"] == code
    if kind == "429":
        assert answer.headers["retry-after"] == "2"
    if kind == "400":
        assert "Odd parameter." in error["message"]
    (line,) = gateway.calls(key)
    assert (line["status"], line["error_code"], line["cost_usd"], line["stream"]) == (
        "error",
        code,
        "0.00",
        stream,
    )
    assert demo.counts()["total"] <= 2, "one retry at most"
    if status == 400:
        assert demo.counts()["total"] == 1, "what the request itself causes is not retried"


@pytest.mark.parametrize("kind", UNCERTAIN)
def test_answers_that_make_no_sense(gateway: Gateway, demo: Demo, kind: str) -> None:
    demo.rule(fault=UNCERTAIN[kind])
    key = gateway.tenant()
    answer = ask(gateway, key, model="gpt-4o-mini")
    assert answer.status_code in (502, 503), answer.text
    story(answer)
    assert [line["status"] for line in gateway.calls(key)] == ["error"]


@pytest.mark.parametrize(
    "model", ["claude-haiku-5-5", "gemini-2.5-flash", "command-r7b-12-2024", "mistral-small"]
)
@pytest.mark.parametrize("kind", ["500", "401", "context"])
def test_other_providers(gateway: Gateway, demo: Demo, model: str, kind: str) -> None:
    fault, status, code = FAULTS[kind]
    demo.rule(fault=fault)
    answer = ask(gateway, gateway.tenant(), model=model)
    assert (answer.status_code, story(answer)["code"]) == (status, code)


@pytest.mark.parametrize("kind", ["500", "503", "reset"])
def test_one_failure_is_survived(gateway: Gateway, demo: Demo, kind: str) -> None:
    demo.rule(fault=FAULTS[kind][0], times=1)
    key = gateway.tenant()
    assert ask(gateway, key, model="grok-4.7").status_code == 200
    assert demo.counts()["total"] == 2
    assert [line["status"] for line in gateway.calls(key)] == ["success"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_filtered_answer_is_an_answer(gateway: Gateway, demo: Demo, stream: bool) -> None:
    demo.rule(fault={"content_filter": True}, reply={"text": "I"})
    answer = ask(gateway, gateway.tenant(), stream=stream)
    assert answer.status_code == 200
    parts = (
        [json.loads(data) for data in events(answer.text.splitlines())[:-1]] if stream else [answer.json()]
    )
    reasons = [c["finish_reason"] for part in parts for c in part["choices"] if c["finish_reason"]]
    assert reasons == ["content_filter"]


PAUSE = {"stall_after": 4, "stall_s": 0.3}  # a reset overtakes what is still on its way
BROKEN: dict[str, dict[str, Any]] = {
    "cut": {"cut_after": 5, **PAUSE},
    "reset": {"cut_after": 5, "reset": True, **PAUSE},
    "malformed": {"malformed_after": 4, **PAUSE},
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_stream_is_never_complete(gateway: Gateway, demo: Demo, kind: str) -> None:
    demo.rule(reply={"chunks": 8}, fault=BROKEN[kind])
    key = gateway.tenant(cost_per_day_usd="1")
    answer = ask(gateway, key, stream=True)
    data = events(answer.text.splitlines())
    assert answer.status_code == 200 and "[DONE]" not in answer.text
    last = json.loads(data[-1])
    assert last["error"]["message"] and last["error"]["code"] and last["error"]["attempts"]
    assert "Traceback" not in answer.text and "litellm" not in answer.text
    told = "".join(c["delta"].get("content") or "" for d in data[:-1] for c in json.loads(d)["choices"])
    assert told.startswith("word1 word2 ")
    assert not any(c["finish_reason"] for d in data[:-1] for c in json.loads(d)["choices"])
    (line,) = gateway.calls(key)
    assert line["status"] == "error" and line["error_code"] == last["error"]["code"]
    assert line["completion_tokens"] > 0 and float(line["cost_usd"]) > 0, "tokens that arrived are paid"


@pytest.mark.parametrize("kind", BROKEN)
def test_openais_client_raises(gateway: Gateway, demo: Demo, kind: str) -> None:
    demo.rule(reply={"chunks": 8}, fault=BROKEN[kind])
    with (
        openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.api_key, max_retries=0) as client,
        pytest.raises(openai.APIError),
        client.chat.completions.create(**question(), stream=True) as stream,  # type: ignore[call-overload]
    ):
        list(stream)


def test_a_stream_that_forgets_done(gateway: Gateway, demo: Demo) -> None:
    demo.rule(reply={"chunks": 4}, fault={"no_done": True})
    data = events(ask(gateway, gateway.tenant(), stream=True).text.splitlines())
    assert data[-1] == "[DONE]", "the model said that it was done"


def test_a_silent_upstream(gateway: Gateway, demo: Demo) -> None:
    """The gateway of these tests gives a call six seconds."""
    demo.rule(fault={"silent_s": 60})
    key = gateway.tenant(max_concurrency=1)
    began = time.monotonic()
    answer = ask(gateway, key, model="mistral-medium")
    assert answer.status_code == 504 and story(answer)["code"] == "upstream_timeout"
    assert 5 < time.monotonic() - began < 9
    assert [line["status"] for line in gateway.calls(key)] == ["error"]
    time.sleep(0.5)
    assert demo.counts()["in_flight"] == 0, "the upstream's work is ended too"


def test_a_stalled_stream(gateway: Gateway, demo: Demo) -> None:
    demo.rule(reply={"chunks": 8}, fault={"stall_after": 3, "stall_s": 60})
    key = gateway.tenant(max_concurrency=1)
    answer = ask(gateway, key, stream=True, model="mistral-medium")
    data = events(answer.text.splitlines())
    assert "[DONE]" not in data and json.loads(data[-1])["error"]["code"] == "upstream_timeout"
    assert [line["status"] for line in gateway.calls(key)] == ["error"]


CODES = dict.fromkeys(METERED, FAULTS) | {
    # LiteLLM speaks of every refused Anthropic request as of a bad one
    "/v1/messages": {kind: told for kind, told in FAULTS.items() if kind not in ("context", "policy")}
}
STREAMED = [path for path in METERED if path != "/v1/embeddings"]
ENDS = ("[DONE]", "message_stop", "response.completed")


def ask_metered(gateway: Gateway, key: Key, path: str, **fields: Any) -> httpx.Response:
    body = {**METERED[path], **fields}
    return httpx.post(gateway.url + path, json=body, headers=key.headers, timeout=60, trust_env=False)


def check_shape(answer: httpx.Response, path: str) -> None:
    body = answer.json()
    if path == "/v1/messages":
        assert body["type"] == "error" and body["request_id"] == answer.headers["x-request-id"]
        assert body["error"]["type"].endswith("_error")
    else:
        assert set(body) == {"error"}


@pytest.mark.parametrize(
    "path,kind,stream",
    [
        (path, kind, stream)
        for path in METERED
        for kind in CODES[path]
        for stream in ((False, True) if path in STREAMED else (False,))
    ],
)
def test_the_other_routes(gateway: Gateway, demo: Demo, path: str, kind: str, stream: bool) -> None:
    fault, status, code = FAULTS[kind]
    if kind == "reset":  # LiteLLM does not tell a broken connection from other failures here
        code = "upstream_error"
    demo.rule(fault=fault)
    key = gateway.tenant(requests_per_day=5)
    began = time.monotonic()
    answer = ask_metered(gateway, key, path, **({"stream": True} if stream else {}))
    assert time.monotonic() - began < 1.5, "nobody sleeps before another try"
    assert answer.status_code == status, f"{answer.status_code}: {answer.text}"
    error = story(answer)
    assert error["code"] == code and {attempt["error"] for attempt in error["attempts"]} == {code}
    assert not error["message"].startswith(("{", "[{")) and "Exception" not in error["message"]
    check_shape(answer, path)
    if kind == "400":
        assert error["message"] == "Odd parameter."
    (line,) = gateway.calls(key)
    assert (line["status"], line["error_code"], line["cost_usd"]) == ("error", code, "0.00")
    assert demo.counts()["total"] <= (4 if kind == "reset" else 2)  # aiohttp itself repeats after a reset
    if kind not in ("500", "503", "reset"):
        assert demo.counts()["total"] == 1


@pytest.mark.parametrize("path", METERED)
@pytest.mark.parametrize("kind", UNCERTAIN)
def test_answers_that_make_no_sense_elsewhere(gateway: Gateway, demo: Demo, path: str, kind: str) -> None:
    demo.rule(fault=UNCERTAIN[kind])
    key = gateway.tenant()
    answer = ask_metered(gateway, key, path)
    assert answer.status_code in (502, 503), answer.text
    story(answer)
    check_shape(answer, path)
    assert [line["status"] for line in gateway.calls(key)] == ["error"]


@pytest.mark.parametrize("path", METERED)
def test_one_failure_is_survived_elsewhere(gateway: Gateway, demo: Demo, path: str) -> None:
    demo.rule(fault={"status": 500}, times=1)
    key = gateway.tenant(requests_per_day=5)
    began = time.monotonic()
    assert ask_metered(gateway, key, path).status_code == 200
    assert time.monotonic() - began < 1.5 and demo.counts()["total"] == 2
    (line,) = gateway.calls(key)
    assert line["status"] == "success"
    assert [attempt["status"] for attempt in line["attempts"]] == ["error", "success"]


# On `/v1/responses` LiteLLM leaves a malformed event out, and the last one repeats the whole text.
CUT = [(path, kind) for path in STREAMED for kind in BROKEN if (path, kind) != ("/v1/responses", "malformed")]


@pytest.mark.parametrize("path,kind", CUT)
def test_other_routes_cut_in_the_middle(gateway: Gateway, demo: Demo, path: str, kind: str) -> None:
    demo.rule(reply={"chunks": 8}, fault=BROKEN[kind])
    key = gateway.tenant(requests_per_day=5, cost_per_day_usd="1")
    began = time.monotonic()
    answer = ask_metered(gateway, key, path, stream=True)
    assert time.monotonic() - began < 3, "there is no usage to wait for"
    told = [json.loads(data) for data in events(answer.text.splitlines())]
    assert not any(end in answer.text for end in ENDS), "a truncated answer looks complete"
    assert told[-1]["error"]["code"] == "stream_interrupted" and told[-1]["error"]["attempts"]
    assert not any(event.get("error") for event in told[:-1]) and "litellm" not in answer.text.lower()
    (line,) = gateway.calls(key)
    assert (line["status"], line["error_code"]) == ("error", "stream_interrupted")
    assert float(line["cost_usd"]) > 0 and 2 < line["completion_tokens"] < 20, (
        "what came is paid, not the estimate"
    )


@pytest.mark.parametrize("kind", BROKEN)
def test_anthropics_client_raises(gateway: Gateway, demo: Demo, kind: str) -> None:
    demo.rule(reply={"chunks": 8}, fault=BROKEN[kind])
    with (
        anthropic.Anthropic(base_url=gateway.url, api_key=gateway.api_key, max_retries=0) as client,
        pytest.raises(anthropic.APIError),
        client.messages.stream(**METERED["/v1/messages"]) as stream,
    ):
        list(stream.text_stream)


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/messages"])
def test_other_streams_that_forget_their_end(gateway: Gateway, demo: Demo, path: str) -> None:
    demo.rule(reply={"chunks": 4}, fault={"no_done": True})
    key = gateway.tenant()
    data = events(ask_metered(gateway, key, path, stream=True).text.splitlines())
    assert data[-1] == "[DONE]" or json.loads(data[-1])["type"] == "message_stop"
    assert [line["status"] for line in gateway.calls(key)] == ["success"]
