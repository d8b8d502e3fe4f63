"""Tools that the gateway runs, from the client's side: real gateway, real tool server, scripted model."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from sentinella_plugins.demo import Demo
from tests import wild_servers as ws
from tests.gateway import Gateway, events, question, running_gateway

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
SECRET = "Bearer integration-s3cret"
GATEWAY: dict[str, Any] = {"tool_execution": "gateway"}


class Tools:
    """A server of tools in a thread, with the wild servers' manners."""

    def __enter__(self) -> Tools:
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    async def _serve(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        async with ws.wild() as self.server:
            self._ready.set()
            await self._end.wait()

    def url(self, path: str) -> str:
        return self.server.url(path, "127.0.0.1")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    env = {
        "SENTINELLA_TOOLS__NET__ALLOW": '["127.0.0.1/32"]',
        "SENTINELLA_TOOLS__CACHE_TTL_S": "0",
        "SENTINELLA_TOOLS__BOUNDS__MAX_ROUNDS": "3",
        "SENTINELLA_TOOLS__TIMEOUT_S": "1",
    }
    with running_gateway(tmp_path_factory.mktemp("tools"), env=env) as gateway:
        yield gateway
        assert "integration-s3cret" not in gateway.log()


@pytest.fixture
def gateway(shared: Gateway) -> Gateway:
    shared.demo.clear()
    return shared


@pytest.fixture
def demo(gateway: Gateway) -> Demo:
    return gateway.demo


@pytest.fixture(scope="module")
def tools() -> Iterator[Tools]:
    with Tools() as found:
        yield found


@pytest.fixture
def client(gateway: Gateway, tools: Tools) -> Iterator[httpx.Client]:
    """Of a tenant of its own, with a tool `weather`."""
    tools.server.asked.clear()
    tools.server.paths["/v1/Rom"] = ws.says('{"celsius": 21}')
    with gateway.client(gateway.tenant()) as http:
        weather = {
            "name": "weather",
            "description": "The weather of a city.",
            "parameters": CITY,
            "url": tools.url("/v1/{city}"),
            "headers": {"Authorization": {"secret": SECRET}},
        }
        http.post("/v1/tools", json=weather).raise_for_status()
        yield http


def asks(demo: Demo, city: str = "Rom", *, name: str = "weather", times: int = 1, **more: Any) -> None:
    """The model asks for a tool so often."""
    demo.rule(times=times, reply={"tool_calls": [{"name": name, "arguments": {"city": city}}], **more})


def chat(client: httpx.Client, **fields: Any) -> dict[str, Any]:
    answer = client.post("/v1/chat/completions", json=question(**{**GATEWAY, **fields}))
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def streamed(client: httpx.Client, **fields: Any) -> list[dict[str, Any]]:
    body = question(**{**GATEWAY, "stream": True, **fields})
    with client.stream("POST", "/v1/chat/completions", json=body) as answer:
        assert answer.status_code == 200
        data = events(answer.iter_lines())
    assert data[-1] == "[DONE]"
    return [json.loads(one) for one in data[:-1]]


def told(demo: Demo) -> list[str]:
    """What the model was told by tools, in its last question."""
    messages = demo.requests()[-1]["body"]["messages"]
    return [message["content"] for message in messages if message["role"] == "tool"]


def test_routes(client: httpx.Client, gateway: Gateway) -> None:
    shown = client.get("/v1/tools/weather")
    assert shown.json()["headers"] == {"Authorization": {"secret": None}} and "s3cret" not in shown.text
    assert [tool["id"] for tool in client.get("/v1/tools").json()["data"]] == ["weather"]
    ran = client.post("/v1/tools/weather/test", json={"arguments": {"city": "Rom"}}).json()
    assert ran["ok"] and ran["content"] == '{"celsius": 21}'
    refused = client.post("/v1/tools", json={"name": "bad", "url": "https://169.254.169.254/"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "address_not_allowed")
    with gateway.client(gateway.tenant()) as other:
        assert other.get("/v1/tools/weather").status_code == 404
    assert httpx.get(f"{gateway.url}/v1/tools", trust_env=False).status_code == 401
    assert client.delete("/v1/tools/weather").json()["deleted"] is True


def test_the_loop(client: httpx.Client, demo: Demo, tools: Tools) -> None:
    asks(demo)
    demo.rule(reply={"text": "It is warm."})
    answer = chat(client)
    assert answer["choices"][0]["message"]["content"] == "It is warm."
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert told(demo) == ['{"celsius": 21}']
    assert tools.server.asked[0].headers["authorization"] == SECRET
    assert "s3cret" not in json.dumps(demo.requests())
    assert len(answer["sentinella"]["attempts"]) == 2
    assert answer["sentinella"]["tools"] == {"rounds": 1, "calls": 1, "stopped": None}


def test_both_steps_are_paid(client: httpx.Client, gateway: Gateway, demo: Demo) -> None:
    asks(demo, usage={"prompt": 100, "completion": 10})
    demo.rule(reply={"text": "ok", "usage": {"prompt": 200, "completion": 20}})
    usage = chat(client)["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (300, 30)


def test_the_stream_shows_tools_beside_the_text(client: httpx.Client, demo: Demo) -> None:
    asks(demo, text="One moment. ")
    demo.rule(reply={"chunks": ["It is ", "warm."]})
    chunks = streamed(client)
    seen = [chunk["sentinella"]["tool"] for chunk in chunks if "tool" in chunk.get("sentinella", {})]
    assert [(tool["name"], tool["status"], tool.get("ok")) for tool in seen] == [
        ("weather", "started", None),
        ("weather", "finished", True),
    ]
    beside = [chunk for chunk in chunks if "tool" in chunk.get("sentinella", {})]
    assert not any(choice["delta"] or choice["finish_reason"] for c in beside for choice in c["choices"])
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    assert "".join(delta.get("content") or "" for delta in deltas) == "One moment. It is warm."
    assert not any(delta.get("tool_calls") for delta in deltas)
    assert len({chunk["id"] for chunk in chunks}) == 1
    ends = [
        choice["finish_reason"] for chunk in chunks for choice in chunk["choices"] if choice["finish_reason"]
    ]
    assert ends == ["stop"]


def test_the_official_client_does_not_mind(gateway: Gateway, demo: Demo, tools: Tools) -> None:
    tools.server.paths["/v1/Rom"] = ws.says('{"celsius": 21}')
    key = gateway.tenant()
    with gateway.client(key) as http:
        tool = {"name": "weather", "parameters": CITY, "url": tools.url("/v1/{city}")}
        http.post("/v1/tools", json=tool).raise_for_status()
    asks(demo)
    demo.rule(reply={"text": "Warm."})
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=key.key, max_retries=0) as client:
        stream = client.chat.completions.create(
            model="gpt-4o-mini",
            messages=[{"role": "user", "content": "?"}],
            stream=True,
            extra_body=GATEWAY,
        )
        text = "".join(c.choices[0].delta.content or "" for c in stream if c.choices)
    assert text == "Warm."


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_of_the_clients_goes_back_to_it(
    client: httpx.Client, demo: Demo, tools: Tools, stream: bool
) -> None:
    asks(demo, name="mine")
    given = [
        {"type": "function", "function": {"name": "weather"}},
        {"type": "function", "function": {"name": "mine", "parameters": CITY}},
    ]
    if stream:
        deltas = [c["delta"] for chunk in streamed(client, tools=given) for c in chunk["choices"]]
        called = [call for delta in deltas for call in delta.get("tool_calls") or ()]
    else:
        called = chat(client, tools=given)["choices"][0]["message"]["tool_calls"]
    assert called[0]["function"]["name"] == "mine" and tools.server.asked == []
    sent = demo.requests()[-1]["body"]["tools"]
    assert {tool["function"]["name"] for tool in sent} == {"weather", "mine"}
    assert all("parameters" in tool["function"] for tool in sent)


@pytest.mark.parametrize(
    ("behave", "said"),
    [
        (ws.silent, "did not answer in time"),
        (ws.endless, "larger than"),
        (ws.redirects("http://169.254.169.254/"), "not public"),
        (ws.says("{oops"), "malformed JSON"),
        (ws.says("no", status=500), "status 500"),
        (ws.says('{"you sent": "' + SECRET + '"}'), "[secret]"),
    ],
)
def test_a_failing_tool_is_told_to_the_model(
    client: httpx.Client, demo: Demo, tools: Tools, behave: ws.Behave, said: str
) -> None:
    tools.server.paths["/v1/Rom"] = behave
    asks(demo)
    demo.rule(reply={"text": "Sorry."})
    assert chat(client)["choices"][0]["message"]["content"] == "Sorry."
    assert said in told(demo)[0] and "s3cret" not in told(demo)[0]


def test_wrong_arguments_are_repaired_once(client: httpx.Client, demo: Demo, tools: Tools) -> None:
    demo.rule(times=1, reply={"tool_calls": [{"name": "weather", "arguments": {"town": "Rom"}}]})
    asks(demo)
    demo.rule(reply={"text": "Warm."})
    assert chat(client)["choices"][0]["message"]["content"] == "Warm."
    assert "'city' is a required property" in told(demo)[0] and len(tools.server.asked) == 1


def test_and_no_more(client: httpx.Client, demo: Demo, tools: Tools) -> None:
    demo.rule(reply={"tool_calls": [{"name": "weather", "arguments": {"town": "Rom"}}]})
    answer = chat(client)
    assert answer["sentinella"]["tools"] == {"rounds": 2, "calls": 2, "stopped": "arguments"}
    assert answer["choices"][0]["finish_reason"] == "tool_calls" and tools.server.asked == []


def test_the_loop_ends(client: httpx.Client, demo: Demo) -> None:
    asks(demo, times=50)
    answer = chat(client)
    assert answer["sentinella"]["tools"] == {"rounds": 3, "calls": 3, "stopped": "max_rounds"}
    assert answer["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "weather"


def test_calls_of_one_round_run_side_by_side(client: httpx.Client, demo: Demo, tools: Tools) -> None:
    met = threading.Barrier(2)

    async def meets(writer: asyncio.StreamWriter) -> None:
        await asyncio.to_thread(met.wait, 0.9)
        await ws.says('"met"')(writer)

    tools.server.paths["/v1/Rom"] = meets
    both = [{"name": "weather", "arguments": {"city": "Rom"}, "id": name} for name in ("a", "b")]
    demo.rule(times=1, reply={"tool_calls": both})
    demo.rule(reply={"text": "ok"})
    chat(client)
    assert told(demo) == ['"met"', '"met"']


@pytest.mark.parametrize("stream", [False, True])
def test_the_next_step_falls_back_like_the_first(client: httpx.Client, demo: Demo, stream: bool) -> None:
    asks(demo, text="So: ")
    demo.rule(times=4, provider="openai", fault={"status": 500})
    demo.rule(reply={"text": "Warm."})
    if stream:
        deltas = [c["delta"] for chunk in streamed(client) for c in chunk["choices"]]
        assert "".join(delta.get("content") or "" for delta in deltas).endswith("Warm.")
    else:
        assert chat(client)["choices"][0]["message"]["content"] == "Warm."
    last = demo.requests()[-1]
    assert last["provider"] != "openai" and "celsius" in json.dumps(last["body"])


def test_the_clients_own_tools_pass_untouched(client: httpx.Client, demo: Demo) -> None:
    given = [{"type": "function", "function": {"name": "weather", "parameters": CITY}}]
    asks(demo)
    answer = chat(client, tools=given, tool_execution="client")
    assert answer["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "weather"
    assert demo.requests()[-1]["body"]["tools"] == given
