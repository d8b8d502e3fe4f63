"""Other people's callbacks and guardrails of the YAML see chat calls as from LiteLLM's own endpoint."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from sentinella_plugins.demo import Demo, running_demo
from sentinella_plugins.kernel.secrets import new_key
from tests.gateway import Gateway, Proxy, events, question, running_gateway
from tests.servers import wait_until

CHAT = "/v1/chat/completions"
SPY = """
import json, os
from fastapi import HTTPException
from litellm.integrations.custom_guardrail import CustomGuardrail
from litellm.integrations.custom_logger import CustomLogger

def write(kind, **what):
    with open(os.environ["SPY_FILE"], "a") as file:
        file.write(json.dumps({"kind": kind, **what}, default=repr) + "\\n")

def seen(kwargs):
    metadata = kwargs["litellm_params"]["metadata"]
    payload = kwargs.get("standard_logging_object") or {}
    return {
        "call_id": kwargs["litellm_call_id"], "model": kwargs["model"],
        "metadata": {k: repr(v) for k, v in metadata.items()},
        "alias": metadata.get("user_api_key_alias"), "team": metadata.get("user_api_key_team_id"),
        "session": kwargs["litellm_params"].get("litellm_session_id") or metadata.get("session_id"),
        "payload": sorted(payload), "cost": kwargs.get("response_cost"), "stream": bool(kwargs.get("stream")),
        "status": payload.get("status"),
        "logged_team": (payload.get("metadata") or {}).get("user_api_key_team_id"),
    }

class Logger(CustomLogger):
    async def async_pre_call_hook(self, user_api_key_dict, cache, data, call_type):
        write("pre", team=user_api_key_dict.team_id, call_type=call_type, model=data["model"])
        last = data["messages"][-1]["content"]
        if "explode" in last:
            raise HTTPException(status_code=418, detail={"error": "I am a teapot"})
        added = {"role": "user", "content": last + " (added by a callback)"}
        data["messages"] = [*data["messages"][:-1], added]
        return data

    async def async_log_success_event(self, kwargs, response_obj, start_time, end_time):
        write("success", **seen(kwargs))

    async def async_log_failure_event(self, kwargs, response_obj, start_time, end_time):
        write("failure", **seen(kwargs))

    async def async_post_call_failure_hook(self, request_data, original_exception, user_api_key_dict, **_):
        write("failure_hook", error=type(original_exception).__name__)

class Censor(CustomLogger):
    async def async_post_call_success_hook(self, data, user_api_key_dict, response):
        for choice in response.choices:
            if choice.message.content:
                choice.message.content = choice.message.content.replace("secret", "******")
        return response

    async def async_post_call_streaming_iterator_hook(self, user_api_key_dict, response, request_data):
        async for chunk in response:
            for choice in chunk.choices:
                if choice.delta.content:
                    choice.delta.content = choice.delta.content.replace("secret", "******")
            yield chunk

class Blocker(CustomGuardrail):
    async def async_pre_call_hook(self, user_api_key_dict, cache, data, call_type):
        if "forbidden" in str(data["messages"]):
            raise HTTPException(status_code=400, detail={"error": "Blocked by the guardrail"})
        return data

logger = Logger()
censor = Censor()
"""


def add_spies(config: dict[str, Any]) -> None:
    settings = config.setdefault("litellm_settings", {})
    settings["callbacks"] = [*settings.get("callbacks", []), "spy.logger", "spy.censor"]
    config["guardrails"] = [
        {
            "guardrail_name": "blocker",
            "litellm_params": {"guardrail": "spy.Blocker", "mode": "pre_call", "default_on": True},
        }
    ]


class Spy:
    """What the callbacks wrote down."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def clear(self) -> None:
        self._file.write_text("")

    def notes(self, kind: str) -> list[dict[str, Any]]:
        lines = (
            [json.loads(line) for line in self._file.read_text().splitlines()] if self._file.exists() else []
        )
        return [line for line in lines if line["kind"] == kind]

    def wait(self, kind: str, count: int = 1) -> list[dict[str, Any]]:
        wait_until(lambda: len(self.notes(kind)) >= count, 10)
        return self.notes(kind)


def prepared(folder: Path) -> dict[str, str]:
    (folder / "spy.py").write_text(SPY)
    return {"SPY_FILE": str(folder / "spy.jsonl")}


@pytest.fixture(scope="module")
def spied_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("spied")
    with running_gateway(folder, env=prepared(folder), yaml_changes=add_spies) as gateway:
        yield gateway


@pytest.fixture
def gateway(spied_gateway: Gateway, spy: Spy) -> Gateway:
    spied_gateway.demo.clear()
    spy.clear()
    return spied_gateway


@pytest.fixture
def spy(spied_gateway: Gateway) -> Spy:
    return Spy(spied_gateway.folder / "spy.jsonl")


def said(answer: httpx.Response, stream: bool) -> str:
    assert answer.status_code == 200, answer.text
    if not stream:
        return str(answer.json()["choices"][0]["message"]["content"])
    data = events(answer.text.splitlines())
    assert data[-1] == "[DONE]" and "sentinella" in json.loads(data[-2])
    return "".join(c["delta"].get("content") or "" for d in data[:-1] for c in json.loads(d)["choices"])


both = pytest.mark.parametrize("stream", [False, True])


@both
def test_a_callback_changes_the_request(gateway: Gateway, demo: Demo, spy: Spy, stream: bool) -> None:
    key = gateway.tenant(requests_per_day=5)
    with gateway.client(key) as client:
        assert "(added by a callback)" in said(client.post(CHAT, json=question("Hi", stream=stream)), stream)
    (pre,) = spy.notes("pre")
    assert (pre["team"], pre["model"]) == (key.tenant, "gpt-4o-mini") and "completion" in pre["call_type"]
    (seen,) = gateway.demo.requests()
    assert seen["body"]["messages"][-1]["content"] == "Hi (added by a callback)"
    assert len(gateway.calls(key)) == 1


@both
def test_a_guardrail_blocks(gateway: Gateway, stream: bool) -> None:
    key = gateway.tenant(requests_per_day=1)
    with gateway.client(key) as client:
        answer = client.post(CHAT, json=question("forbidden things", stream=stream))
        assert answer.status_code == 400 and "Blocked by the guardrail" in answer.json()["error"]["message"]
        assert gateway.demo.counts()["total"] == 0 and gateway.held(key.tenant) == []
        assert client.post(CHAT, json=question("Hi", stream=stream)).status_code == 200, "nothing was used"


@both
@pytest.mark.parametrize(
    "said,status,words", [("forbidden", 400, "Blocked by the guardrail"), ("explode", 418, "I am a teapot")]
)
def test_refusals_keep_status_and_words_on_messages(
    gateway: Gateway, said: str, status: int, words: str, stream: bool
) -> None:
    key = gateway.tenant(cost_per_day_usd="1")
    body = {**question(said, model="claude-haiku-5-5", stream=stream), "max_tokens": 9}
    with gateway.client(key) as client:
        answer = client.post("/v1/messages", json=body)
    assert answer.status_code == status and answer.json()["type"] == "error"
    assert answer.json()["error"]["message"] == words
    assert gateway.demo.counts()["total"] == 0 and gateway.held(key.tenant) == []


@both
def test_a_callbacks_own_status_is_kept(gateway: Gateway, stream: bool) -> None:
    with gateway.client() as client:
        answer = client.post(CHAT, json=question("explode", stream=stream))
    assert answer.status_code == 418 and "teapot" in answer.json()["error"]["message"]


@both
def test_an_answer_is_changed_on_its_way_out(gateway: Gateway, stream: bool) -> None:
    gateway.demo.rule(reply={"chunks": ["the ", "secret ", "word"]})
    with gateway.client() as client:
        assert said(client.post(CHAT, json=question(stream=stream)), stream) == "the ****** word"


@both
def test_the_success_event(gateway: Gateway, spy: Spy, stream: bool) -> None:
    key = gateway.tenant()
    with gateway.client(key) as client:
        answer = client.post(CHAT, json=question(stream=stream, session_id="s-1"))
    (event,) = spy.wait("success")
    assert event["call_id"] == answer.headers["x-request-id"]
    assert (event["alias"], event["team"], event["session"]) == ("test", key.tenant, "s-1")
    assert event["logged_team"] == key.tenant and event["status"] == "success"
    (line,) = gateway.calls(key)
    assert abs(event["cost"] - float(line["cost_usd"])) < 1e-12
    assert key.key not in json.dumps(event) and gateway.master_key not in json.dumps(event)


def test_the_failure_event(gateway: Gateway, spy: Spy) -> None:
    gateway.demo.rule(fault={"status": 400, "message": "Odd."})
    key = gateway.tenant()
    with gateway.client(key) as client:
        assert client.post(CHAT, json=question(model="grok-4.7")).status_code == 400
    assert spy.wait("failure")[0]["team"] == key.tenant
    assert spy.notes("failure_hook")
    assert gateway.calls(key)[0]["status"] == "error"


def test_the_door_refuses_before_any_callback(gateway: Gateway, spy: Spy) -> None:
    key = gateway.tenant(requests_per_day=0)
    with gateway.client(key) as client:
        assert client.post(CHAT, json=question()).status_code == 429
    assert spy.notes("pre") == []


@both
def test_the_same_metadata_as_from_litellm_itself(
    gateway: Gateway, spy: Spy, tmp_path: Path, bare: tuple[Proxy, Spy, str], stream: bool
) -> None:
    proxy, theirs, key = bare
    theirs.clear()
    body = question(stream=stream, metadata={"mine": "1"}, user="u1")
    headers = {"authorization": f"Bearer {key}"}
    httpx.post(proxy.url + CHAT, json=body, headers=headers, timeout=30, trust_env=False).raise_for_status()
    with gateway.client() as client:
        client.post(CHAT, json=body).raise_for_status()
    expected, found = theirs.wait("success")[0], spy.wait("success")[0]
    assert sorted(set(expected["metadata"]) - set(found["metadata"])) == [], (
        "metadata that LiteLLM's endpoint gives"
    )
    assert set(expected["payload"]) <= set(found["payload"])
    assert (found["stream"], found["status"]) == (expected["stream"], expected["status"])
    assert "'mine': '1'" in found["metadata"]["requester_metadata"]


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Proxy, Spy, str]]:
    """LiteLLM alone, with the same callbacks."""
    folder, key = tmp_path_factory.mktemp("bare"), new_key()
    with running_demo() as demo:
        params = {"model": "openai/gpt-4o-mini", "api_base": demo.base("openai"), "api_key": "demo"}
        config: dict[str, Any] = {"model_list": [{"model_name": "gpt-4o-mini", "litellm_params": params}]}
        add_spies(config)
        (folder / "proxy_config.yaml").write_text(yaml.safe_dump(config))
        env = {**prepared(folder), "LITELLM_MASTER_KEY": key}
        with Proxy(folder, config=folder / "proxy_config.yaml", env=env) as proxy:
            yield proxy, Spy(folder / "spy.jsonl"), key
