"""Clients that err, lie, dawdle or leave: a clear 4xx or a clean cancel. Never a 500, never a hang, nothing
held."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from sentinella_plugins.demo import Demo
from tests.gateway import METERED, Gateway, Key, question
from tests.servers import wait_until

CHAT = "/v1/chat/completions"
ROUTES = [CHAT, *METERED]
DEEP = b"[" * 50_000
NO_JSON = {
    "empty": b"",
    "half": b'{"model": "gpt-4o-mini"',
    "list": b"[]",
    "null": b"null",
    "string": b'"hello"',
    "number": b"7",
    "no value": b'{"model":}',
    "bytes": b"\xff\xfe\x00",
    "utf8": b'{"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "\xff\xfe"}]}',
    "surrogate": b'{"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "\xed\xa0\x80"}]}',
    "nan": b'{"model": "gpt-4o-mini", "temperature": NaN, "messages": [{"role": "user", "content": "x"}]}',
    "deep": b'{"model": "gpt-4o-mini", "messages": ' + DEEP + b"]" * 50_000 + b"}",
    "open deep": DEEP,
    "two": b"{}{}",
    "control": b'{"model": "a\nb"}',
}
WRONG: dict[str, list[Any]] = {
    "model": [5, [], {}, True, "x" * 10_000],
    "messages": [
        None,
        "hi",
        {},
        [],
        [5],
        [{}],
        [{"role": "king", "content": "x"}],
        [{"role": "user", "content": 5}],
    ],
    "stream": ["yes", 1, []],
    "stream_options": ["x", 5, []],
    "max_tokens": ["5", 0, -1, 1.5, 10**30, True],
    "max_completion_tokens": ["5", 0, -1],
    "n": ["2", 0, -3, 1.5, 10**9],
    "temperature": ["hot", [], True],
    "top_p": ["x", {}],
    "presence_penalty": ["x"],
    "frequency_penalty": [[]],
    "seed": ["x", 1.5],
    "stop": [5, {}, [5]],
    "logprobs": ["x", 5],
    "top_logprobs": ["x"],
    "logit_bias": ["x", [], {"1": "x"}],
    "user": [5, {}],
    "response_format": ["json", 5, []],
    "tools": ["x", {}, [5]],
    "tool_choice": [5, []],
    "functions": ["x", [5]],
    "parallel_tool_calls": ["x"],
    "reasoning_effort": [5],
    "metadata": ["x", 5],
    "modalities": ["x", [5]],
    "session_id": [5, "", "x" * 200, {}],
    "template": ["x", {"nme": "x"}, {}],
    "tool_execution": ["server", 5],
    "routing": ["x", {"objective": "nicest"}, {"max_cost_usd": -1}, {"min_quality": 2}, {"unknown": 1}],
    "cache": ["x", {"mode": "never"}, {"threshold": 7}, {"ttl_s": 0}],
}
TEXTS: list[Any] = [None, 5, {}, [], [{}], [True], [[]], [["x"]], True]
OF_ALL: dict[str, list[Any]] = {"model": [5, [], {}], "temperature": ["hot", [], True], "top_p": ["x", {}]}
STREAMED: dict[str, list[Any]] = {**OF_ALL, "stream": ["yes", 1, []]}
OBJECTS: list[Any] = ["x", 5, [], True]
TOOLS: list[Any] = ["x", 5, {}, [5], [{"type": "mcp", "server_url": "http://127.0.0.1:9"}]]
WRONG_ELSEWHERE: dict[str, dict[str, list[Any]]] = {
    "/v1/completions": {
        **STREAMED,
        "prompt": [*TEXTS, [5], [[5]]],
        "max_tokens": ["5", -1, 1.5, True],
        "n": [0, "2", 10**9],
        "best_of": ["x", 0],
        "logprobs": [True, "x"],
        "stop": [5, {}, [5]],
        "suffix": [5],
        "echo": ["x"],
        "stream_options": ["x", 5, []],
        "logit_bias": ["x", [], {"1": "x"}],
    },
    "/v1/embeddings": {
        "model": OF_ALL["model"],
        "input": TEXTS,
        "stream": [True, False, "x"],
        "dimensions": ["x", 0, 1.5],
        "encoding_format": ["int8", 5],
        "user": [5],
    },
    "/v1/responses": {
        **STREAMED,
        "input": [None, 5, {}, [], [5], ["x"], True],
        "instructions": [5, []],
        "max_output_tokens": ["5", 0],
        "tools": TOOLS,
        "tool_choice": [5, []],
        "metadata": [*OBJECTS, {"tags": ["x"]}],
        "reasoning": OBJECTS,
        "text": OBJECTS,
        "background": [True, "x"],
        "store": ["x"],
        "include": ["x", [5]],
        "previous_response_id": [5],
    },
    "/v1/messages": {
        **STREAMED,
        "messages": [None, 5, {}, [], [5], [{}], [{"role": "king", "content": "x"}], [{"role": "user"}]],
        "max_tokens": [None, "5", 0, -1, 1.5, True],
        "system": [5, {}, ["x"]],
        "tools": TOOLS,
        "tool_choice": ["auto", 5, []],
        "metadata": [*OBJECTS, {"tags": ["x"]}],
        "thinking": OBJECTS,
        "stop_sequences": ["x", 5, [5]],
        "top_k": ["x", 1.5],
        "context_management": ["x", {"edits": [{"type": "compact_20260112"}]}],
    },
}


@pytest.fixture(autouse=True)
def nothing_stays_held(gateway: Gateway) -> Iterator[None]:
    yield
    gateway.demo.clear()
    wait_until(lambda: not gateway.held(), 5)
    assert gateway.healthy()


def send(
    gateway: Gateway, body: bytes, path: str = CHAT, key: Key | None = None, **headers: str
) -> httpx.Response:
    given = {**(key or gateway.default).headers, "content-type": "application/json", **headers}
    return httpx.post(gateway.url + path, content=body, headers=given, timeout=20, trust_env=False)


def refused(answer: httpx.Response, *statuses: int) -> dict[str, Any]:
    assert answer.status_code in statuses, f"{answer.status_code}: {answer.text[:500]}"
    error: dict[str, Any] = answer.json()["error"]
    assert {"message", "type"} <= set(error) and error["message"] and "Traceback" not in answer.text
    assert answer.headers["x-request-id"]
    return error


class Wire:
    """A raw connection."""

    def __init__(self, gateway: Gateway) -> None:
        self._socket = socket.create_connection(("127.0.0.1", gateway.port), timeout=15)

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, *parts: bytes) -> None:
        for part in parts:
            self._socket.sendall(part)

    def end(self) -> None:
        self._socket.shutdown(socket.SHUT_WR)

    def read(self, until: bytes = b"", seconds: float = 10) -> bytes:
        """Until these bytes came, or the server closed, or it took too long (an empty `until` waits for the
        close)."""
        self._socket.settimeout(seconds)
        got = b""
        try:
            while part := self._socket.recv(65_536):
                got += part
                if until and until in got:
                    break
        except (TimeoutError, ConnectionResetError):
            pass
        return got

    def answer(self) -> tuple[int, bytes]:
        """Status and whole body, in however many packets they come."""
        answer = http.client.HTTPResponse(self._socket)
        answer.begin()
        return answer.status, answer.read()


def head(gateway: Gateway, *lines: str, version: str = "HTTP/1.1", path: str = CHAT) -> bytes:
    fixed = [f"POST {path} {version}", "Host: gateway", f"Authorization: Bearer {gateway.api_key}"]
    return "\r\n".join([*fixed, "Content-Type: application/json", *lines, "", ""]).encode()


BODY = json.dumps(question()).encode()


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("kind", NO_JSON)
def test_bodies_that_are_no_json_object(gateway: Gateway, demo: Demo, path: str, kind: str) -> None:
    error = refused(send(gateway, NO_JSON[kind], path), 400)
    assert error["type"] == "invalid_request_error" and demo.counts()["total"] == 0


@pytest.mark.parametrize("field", WRONG)
def test_wrong_types_are_named(gateway: Gateway, demo: Demo, field: str) -> None:
    for value in WRONG[field]:
        answer = send(gateway, json.dumps({**question(), field: value}).encode())
        error = refused(answer, 400)
        assert (error["param"] or "").split(".")[0] == field, (value, error)
        assert error["type"] == "invalid_request_error" and field in error["message"]
    assert demo.counts()["total"] == 0


@pytest.mark.parametrize("path", METERED)
def test_wrong_types_elsewhere(gateway: Gateway, demo: Demo, path: str) -> None:
    for field, values in WRONG_ELSEWHERE[path].items():
        for value in values:
            answer = send(gateway, json.dumps({**METERED[path], field: value}).encode(), path)
            error = refused(answer, 400)
            assert (error["param"] or "").split(".")[0] == field, (value, error)
            assert error["type"] == "invalid_request_error" and field in error["message"]
    assert demo.counts()["total"] == 0


@pytest.mark.parametrize("path", METERED)
def test_any_value_elsewhere(gateway: Gateway, path: str) -> None:
    """Whatever passes our own look at the types is the provider's business, and no fault of the gateway."""
    for field in (*METERED[path], "stream", "tools", "metadata", "user", "stop", "temperature"):
        for value in (5, {"a": {}}, [5], None, "x", [{}], [[]], -1, True):
            answer = send(gateway, json.dumps({**METERED[path], field: value}).encode(), path)
            assert answer.status_code < 500, (field, value, answer.text[:200])


@pytest.mark.parametrize("path", METERED)
@pytest.mark.parametrize("field", ["colour", "extra_body", "mcp_servers", "tags", "__class__", ""])
def test_unknown_fields_elsewhere(gateway: Gateway, demo: Demo, path: str, field: str) -> None:
    error = refused(send(gateway, json.dumps({**METERED[path], field: "x"}).encode(), path), 400)
    assert error["param"] == field and demo.counts()["total"] == 0


@pytest.mark.parametrize("path", METERED)
def test_missing_fields_elsewhere(gateway: Gateway, path: str) -> None:
    for missing in set(METERED[path]) - {"model"}:
        body = {name: value for name, value in METERED[path].items() if name != missing}
        assert refused(send(gateway, json.dumps(body).encode(), path), 400)["param"] == missing


def test_errors_have_anthropics_shape_where_its_clients_come(gateway: Gateway) -> None:
    answer = send(gateway, b"{}", "/v1/messages")
    assert answer.json()["type"] == "error" and answer.json()["request_id"] == answer.headers["x-request-id"]
    stranger = httpx.post(gateway.url + "/v1/messages", json=METERED["/v1/messages"], trust_env=False)
    assert stranger.status_code == 401 and stranger.json()["error"]["type"] == "authentication_error"


@pytest.mark.parametrize("path", ROUTES)
def test_unknown_models(gateway: Gateway, path: str) -> None:
    body = {**(question() if path == CHAT else METERED[path]), "model": "gpt-99"}
    error = refused(send(gateway, json.dumps(body).encode(), path), 404)
    assert error["code"] == "model_not_found" and error["param"] == "model" and "gpt-99" in error["message"]


@pytest.mark.parametrize(
    "field", ["colour", "api_base", "mock_response", "fallbacks", "litellm_params", "__class__", ""]
)
def test_unknown_fields_of_chat(gateway: Gateway, demo: Demo, field: str) -> None:
    error = refused(send(gateway, json.dumps({**question(), field: "x"}).encode()), 400)
    assert error["param"] == field and demo.counts()["total"] == 0


def test_absurd_sizes(gateway: Gateway) -> None:
    turn = {"role": "user", "content": "x"}
    refused(send(gateway, json.dumps({**question(), "messages": [turn] * 100_001}).encode()), 400)
    refused(send(gateway, json.dumps({**question(), "x" * 100_000: 1}).encode()), 400)
    assert send(gateway, json.dumps(question("word " * 200_000)).encode()).status_code in (200, 400)


@pytest.mark.parametrize("path", ROUTES)
def test_a_thousand_headers(gateway: Gateway, path: str) -> None:
    refused(send(gateway, BODY, path, **{f"x-filler-{i}": "x" for i in range(1000)}), 431)


def test_a_huge_header(gateway: Gateway) -> None:
    with Wire(gateway) as wire:
        wire.send(head(gateway, "X-Big: " + "x" * 1_000_000, f"Content-Length: {len(BODY)}"), BODY)
        got = wire.read()
    assert got == b"" or 400 <= int(got.split(b" ", 2)[1]) < 500, got[:200]


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("chunked", [False, True])
def test_fifty_megabytes(gateway: Gateway, path: str, chunked: bool) -> None:
    began = time.monotonic()
    length = "Transfer-Encoding: chunked" if chunked else "Content-Length: 52428800"
    megabyte = b"x" * 2**20
    with Wire(gateway) as wire:
        wire.send(head(gateway, length, path=path))
        try:
            for _ in range(50):
                wire.send(b"100000\r\n" + megabyte + b"\r\n" if chunked else megabyte)
        except OSError:
            pass  # the gateway has heard enough
        status, got = wire.answer()
    assert status == 413 and b"request_too_large" in got
    assert time.monotonic() - began < 20


def test_the_size_is_refused_before_the_body_comes(gateway: Gateway) -> None:
    began = time.monotonic()
    with Wire(gateway) as wire:
        wire.send(head(gateway, "Content-Length: 52428800"))
        assert wire.answer()[0] == 413
    assert time.monotonic() - began < 2.5


class TestLengthsThatLie:
    def test_more_announced_than_sent(self, gateway: Gateway) -> None:
        with Wire(gateway) as wire:
            wire.send(head(gateway, f"Content-Length: {len(BODY) + 100}"), BODY)
            status, got = wire.answer()
        assert status == 408 and b"request_timeout" in got

    def test_and_then_closed(self, gateway: Gateway) -> None:
        with Wire(gateway) as wire:
            wire.send(head(gateway, f"Content-Length: {len(BODY) + 100}"), BODY)
            wire.end()
            wire.read()

    def test_less_announced_than_sent(self, gateway: Gateway) -> None:
        with Wire(gateway) as wire:
            wire.send(head(gateway, f"Content-Length: {len(BODY) - 5}"), BODY)
            status, _ = wire.answer()
        assert status == 400

    @pytest.mark.parametrize("length", ["-1", "abc", "1e3", "0x10", "99999999999999999999", "5, 6", "+5"])
    def test_nonsense(self, gateway: Gateway, length: str) -> None:
        with Wire(gateway) as wire:
            wire.send(head(gateway, f"Content-Length: {length}"), BODY)
            assert wire.answer()[0] in (400, 413)

    def test_two_lengths(self, gateway: Gateway, demo: Demo) -> None:
        with Wire(gateway) as wire:
            lines = (f"Content-Length: {len(BODY)}", "Transfer-Encoding: chunked")
            wire.send(head(gateway, *lines), BODY)
            got = wire.read(b"\r\n\r\n", 6)
        assert got == b"" or int(got.split(b" ", 2)[1]) in (400, 408)
        assert demo.counts()["total"] == 0


def test_chunked_bodies(gateway: Gateway) -> None:
    def parts() -> Iterator[bytes]:
        for start in range(0, len(BODY), 7):
            yield BODY[start : start + 7]

    headers = {**gateway.default.headers, "content-type": "application/json"}
    answer = httpx.post(gateway.url + CHAT, content=parts(), headers=headers, timeout=20, trust_env=False)
    assert answer.status_code == 200


def test_broken_chunks(gateway: Gateway) -> None:
    with Wire(gateway) as wire:
        wire.send(head(gateway, "Transfer-Encoding: chunked"), b"ZZ\r\nnonsense\r\n")
        assert wire.answer()[0] == 400


def test_a_slow_body_is_waited_for(gateway: Gateway) -> None:
    with Wire(gateway) as wire:
        wire.send(head(gateway, f"Content-Length: {len(BODY)}"))
        for start in range(0, len(BODY), 20):
            wire.send(BODY[start : start + 20])
            time.sleep(0.2)
        assert wire.answer()[0] == 200


@pytest.mark.parametrize("path", ROUTES)
def test_a_body_that_never_comes(gateway: Gateway, path: str) -> None:
    """The gateway of these tests waits three seconds."""
    began = time.monotonic()
    with Wire(gateway) as wire:
        wire.send(head(gateway, f"Content-Length: {len(BODY)}", path=path), BODY[:10])
        assert wire.answer()[0] == 408
    assert 2 < time.monotonic() - began < 20


def test_a_strangers_body_is_not_waited_for(gateway: Gateway) -> None:
    began = time.monotonic()
    with Wire(gateway) as wire:
        wire.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\nContent-Length: 1000\r\n\r\n")
        assert wire.answer()[0] == 401
    assert time.monotonic() - began < 2.5


def test_http_1_0(gateway: Gateway) -> None:
    with Wire(gateway) as wire:
        wire.send(head(gateway, f"Content-Length: {len(BODY)}", version="HTTP/1.0"), BODY)
        got = wire.read()
    assert b" 200 OK" in got.split(b"\r\n")[0] and b"chat.completion" in got


@pytest.mark.xfail(reason="uvicorn on httptools sends chunks to HTTP/1.0 clients too")
def test_http_1_0_stream(gateway: Gateway) -> None:
    body = json.dumps(question(stream=True)).encode()
    with Wire(gateway) as wire:
        wire.send(head(gateway, f"Content-Length: {len(body)}", version="HTTP/1.0"), body)
        got = wire.read()
    assert b" 200 OK" in got.split(b"\r\n")[0] and got.rstrip().endswith(b"[DONE]")


def test_pipelined_requests(gateway: Gateway) -> None:
    request = head(gateway, f"Content-Length: {len(BODY)}") + BODY
    last = head(gateway, f"Content-Length: {len(BODY)}", "Connection: close") + BODY
    with Wire(gateway) as wire:
        wire.send(request + request + last)
        got = wire.read(seconds=15)
    assert got.count(b"HTTP/1.1 200 OK") == 3 and got.count(b'"chat.completion"') == 3


def test_other_methods_and_paths(gateway: Gateway) -> None:
    with gateway.client() as client:
        for method in ("GET", "PUT", "DELETE", "PATCH"):
            assert refused(client.request(method, CHAT), 405)["code"] == "method_not_allowed"
            assert refused(client.request(method, "/v1/embeddings"), 405)["code"] == "method_not_allowed"
        assert client.request("HEAD", CHAT).status_code == 405
        assert refused(client.post("/v1/models"), 405)["code"] == "method_not_allowed"
        assert refused(client.get("/v1/usage/nothing"), 404)["code"] == "not_found"
        for path in ("/no/such/path", "/v1/no-such-thing", "/v1/chat", "//v1//chat", "/v1/../etc/passwd"):
            assert client.get(path).status_code in (403, 404), path


def test_compressed_bodies_are_refused(gateway: Gateway) -> None:
    refused(send(gateway, BODY, **{"content-encoding": "gzip"}), 400, 415)


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("stream", [False, True])
def test_leaving_before_the_answer(gateway: Gateway, demo: Demo, path: str, stream: bool) -> None:
    demo.rule(fault={"delay_s": 8})
    key = gateway.tenant(requests_per_day=5, cost_per_day_usd="1", max_concurrency=1)
    body = question() if path == CHAT else METERED[path]
    if path != "/v1/embeddings":
        body = {**body, "stream": stream}
    with gateway.client(key) as client, pytest.raises(httpx.ReadTimeout):
        client.post(path, json=body, timeout=0.7)
    wait_until(lambda: demo.counts()["in_flight"] == 0, 3)
    wait_until(lambda: not gateway.held(key.tenant), 3)
    (line,) = gateway.calls(key)
    assert line["status"] == "cancelled"


@pytest.mark.parametrize("path", [route for route in ROUTES if route != "/v1/embeddings"])
def test_leaving_in_the_middle_of_a_stream(gateway: Gateway, demo: Demo, path: str) -> None:
    demo.rule(reply={"chunks": 20}, fault={"stall_after": 4, "stall_s": 20})
    key = gateway.tenant(requests_per_day=5, cost_per_day_usd="1", max_concurrency=1)
    body = {**(question() if path == CHAT else METERED[path]), "stream": True}
    with gateway.client(key) as client, client.stream("POST", path, json=body) as answer:
        assert answer.status_code == 200
        seen = ""
        for text in answer.iter_text():
            seen += text
            if "word3" in seen:
                break
    wait_until(lambda: demo.counts()["in_flight"] == 0, 3)
    wait_until(lambda: not gateway.held(key.tenant), 3)
    (line,) = gateway.calls(key)
    assert line["status"] == "cancelled"
    assert 3 <= line["completion_tokens"] <= 12 and line["prompt_tokens"] > 0, "the tokens so far, no more"
    assert float(line["cost_usd"]) > 0
    demo.clear()
    with gateway.client(key) as client:
        assert client.post(path, json={**body, "stream": False}).status_code == 200, "the slot is free again"


def test_many_who_leave(gateway: Gateway, demo: Demo) -> None:
    demo.rule(fault={"delay_s": 8})
    key = gateway.tenant(max_concurrency=100)
    wires = [Wire(gateway) for _ in range(50)]
    request = (
        head(gateway, f"Content-Length: {len(BODY)}").replace(gateway.api_key.encode(), key.key.encode())
        + BODY
    )
    for wire in wires:
        wire.send(request)
    wait_until(lambda: demo.counts()["in_flight"] == 50, 10)
    for wire in wires:
        wire.__exit__()
    wait_until(lambda: not gateway.held(key.tenant), 5)
    wait_until(lambda: demo.counts()["in_flight"] == 0, 5)
    assert [line["status"] for line in gateway.calls(key)] == ["cancelled"] * 50
