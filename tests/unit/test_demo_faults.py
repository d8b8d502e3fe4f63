from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import orjson
import pytest

from sentinella_plugins.demo import Demo, running_demo

PATHS = {
    "openai": "/openai/v1/chat/completions",
    "anthropic": "/anthropic/v1/messages",
    "gemini": "/gemini/v1beta/models/m:generateContent",
    "cohere": "/cohere/v2/chat",
}
ASKED = {"model": "m", "max_tokens": 500, "messages": [{"role": "user", "content": "Say something."}]}
CONTENTS = {"contents": [{"role": "user", "parts": [{"text": "Say something."}]}]}
SIXTY = {"chunks": 60}
every_shape = pytest.mark.parametrize("provider", sorted(PATHS))


@pytest.fixture(scope="module")
def server() -> Iterator[Demo]:
    with running_demo() as demo:
        yield demo


@pytest.fixture
def demo(server: Demo) -> Demo:
    server.clear()
    return server


def request_for(provider: str, *, stream: bool) -> tuple[str, dict[str, Any]]:
    path = PATHS[provider]
    if provider == "gemini":
        return path.replace("generate", "streamGenerate") if stream else path, CONTENTS
    return path, ASKED | {"stream": stream}


def post(demo: Demo, provider: str = "openai", timeout: float = 10, **headers: str) -> httpx.Response:
    path, body = request_for(provider, stream=False)
    return httpx.post(demo.url + path, json=body, timeout=timeout, headers=headers, trust_env=False)


def lines(demo: Demo, provider: str = "openai", timeout: float = 10) -> Iterator[str]:
    path, body = request_for(provider, stream=True)
    url = demo.url + path
    with httpx.stream("POST", url, json=body, timeout=timeout, trust_env=False) as answer:
        yield from (line for line in answer.iter_lines() if line.startswith("data:"))


def content(line: str) -> str:
    return "".join(c["delta"].get("content") or "" for c in orjson.loads(line[5:])["choices"])


def until_cut(stream: Iterator[str]) -> list[str]:
    read = []
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        for line in stream:
            read.append(line)
    return read


@every_shape
def test_errors_have_the_shape_of_their_provider(demo: Demo, provider: str) -> None:
    demo.rule(provider=provider, fault={"status": 429, "retry_after": 1.5, "message": "Slow down."})
    answer = post(demo, provider)
    body = answer.json()
    assert answer.status_code == 429 and answer.headers["retry-after"] == "1.5"
    assert (
        body.get("message", body.get("error", {}).get("message") if "error" in body else None) == "Slow down."
    )
    if provider == "gemini":
        assert body["error"]["status"] == "RESOURCE_EXHAUSTED"
    if provider == "anthropic":
        assert body["type"] == "error" and body["error"]["type"] == "rate_limit_error"


def test_context_length_is_a_400_with_its_code(demo: Demo) -> None:
    demo.rule(fault={"code": "context_length_exceeded"})
    answer = post(demo)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "context_length_exceeded"
    assert "maximum context length" in answer.json()["error"]["message"]


@every_shape
def test_broken_json_is_a_400(demo: Demo, provider: str) -> None:
    answer = httpx.post(demo.url + PATHS[provider], content=b'{"model": ', trust_env=False)
    assert answer.status_code == 400 and "JSON" in answer.text


@every_shape
def test_unknown_paths_are_a_404(demo: Demo, provider: str) -> None:
    answer = httpx.post(f"{demo.url}/{provider}/v1/nothing", json={}, trust_env=False)
    assert answer.status_code == 404 and "nothing here" in answer.text


def test_a_reset_is_a_reset(demo: Demo) -> None:
    demo.rule(fault={"reset": True})
    with pytest.raises(httpx.ReadError) as caught:
        post(demo)
    assert "reset" in str(caught.value.__cause__ or caught.value).lower()


def test_silence_sends_no_byte(demo: Demo) -> None:
    demo.rule(fault={"silent_s": 30})
    with pytest.raises(httpx.ReadTimeout):
        post(demo, timeout=0.3)
    with pytest.raises(httpx.ReadTimeout):
        next(lines(demo, timeout=0.3))


def test_delay(demo: Demo) -> None:
    demo.rule(fault={"delay_s": 0.4}, times=1)
    began = time.monotonic()
    assert post(demo).status_code == 200
    assert 0.4 <= time.monotonic() - began < 3
    began = time.monotonic()
    assert post(demo).status_code == 200
    assert time.monotonic() - began < 0.4


def test_first_token_is_late_but_headers_are_not(demo: Demo) -> None:
    demo.rule(fault={"first_token_delay_s": 0.6})
    path, body = request_for("openai", stream=True)
    began = time.monotonic()
    with httpx.stream("POST", demo.url + path, json=body, timeout=5, trust_env=False) as answer:
        headers_after = time.monotonic() - began
        next(answer.iter_bytes())
        first_after = time.monotonic() - began
    assert answer.status_code == 200
    assert headers_after < 0.5 and first_after >= 0.6


@every_shape
def test_a_stream_is_cut_after_so_many_chunks(demo: Demo, provider: str) -> None:
    demo.rule(reply=SIXTY, fault={"cut_after": 40})
    read = "".join(until_cut(lines(demo, provider)))
    assert "word40 " in read and "word41" not in read


def test_a_cut_may_be_a_reset(demo: Demo) -> None:
    demo.rule(reply=SIXTY, fault={"cut_after": 3, "reset": True})
    with pytest.raises(httpx.ReadError):
        list(lines(demo))


@every_shape
def test_a_whole_answer_is_cut_short_of_its_length(demo: Demo, provider: str) -> None:
    demo.rule(fault={"cut_after": 1})
    with pytest.raises(httpx.RemoteProtocolError, match=r"incomplete|expected"):
        post(demo, provider)


def test_a_stream_stalls(demo: Demo) -> None:
    demo.rule(reply=SIXTY, fault={"stall_after": 5, "stall_s": 30})
    read = []
    with pytest.raises(httpx.ReadTimeout):
        for line in lines(demo, timeout=0.4):
            read.append(content(line))
    assert "".join(read) == "word1 word2 word3 word4 word5 "


def test_a_stalled_stream_goes_on(demo: Demo) -> None:
    demo.rule(reply=SIXTY, fault={"stall_after": 5, "stall_s": 0.4})
    began = time.monotonic()
    read = list(lines(demo))
    assert read[-1] == "data: [DONE]" and "word60 " in read[-3]
    assert time.monotonic() - began >= 0.4


@every_shape
def test_one_chunk_is_malformed(demo: Demo, provider: str) -> None:
    demo.rule(reply=SIXTY, fault={"malformed_after": 7})
    broken = []
    for line in lines(demo, provider):
        try:
            orjson.loads(line[5:].replace("[DONE]", "{}"))
        except orjson.JSONDecodeError:
            broken.append(line)
    assert len(broken) == 1 and "word8 " in broken[0]


def test_a_whole_answer_is_malformed(demo: Demo) -> None:
    demo.rule(fault={"malformed_after": 0})
    answer = post(demo)
    assert answer.status_code == 200
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(answer.content)


@pytest.mark.parametrize(
    ("provider", "terminator"),
    [
        ("openai", "[DONE]"),
        ("anthropic", "message_stop"),
        ("gemini", "finishReason"),
        ("cohere", "message-end"),
    ],
)
def test_the_terminator_is_missing(demo: Demo, provider: str, terminator: str) -> None:
    assert terminator in list(lines(demo, provider))[-1]
    demo.rule(fault={"no_done": True})
    read = list(lines(demo, provider))
    assert len(read) > 5 and not any(terminator in line for line in read)


def test_garbage_is_no_json(demo: Demo) -> None:
    demo.rule(fault={"garbage": True})
    answer = post(demo)
    assert answer.status_code == 200 and answer.text.startswith("<html>")


@pytest.mark.parametrize(
    ("provider", "reason"),
    [
        ("openai", "content_filter"),
        ("anthropic", "refusal"),
        ("gemini", "SAFETY"),
        ("cohere", "ERROR_TOXIC"),
    ],
)
def test_the_content_filter_ends_the_answer(demo: Demo, provider: str, reason: str) -> None:
    assert reason not in post(demo, provider).text
    demo.rule(fault={"content_filter": True})
    assert reason in post(demo, provider).text
    assert any(reason in line for line in lines(demo, provider))


def test_a_scripted_reply(demo: Demo) -> None:
    calls = [{"name": "a", "arguments": {"x": 1}}, {"name": "b", "id": "call_b"}]
    usage = {"prompt": 900, "completion": 50, "cached": 300}
    demo.rule(reply={"text": "Hm.", "tool_calls": calls, "usage": usage})
    answer = post(demo).json()
    message = answer["choices"][0]["message"]
    assert message["content"] == "Hm."
    assert [c["function"]["name"] for c in message["tool_calls"]] == ["a", "b"]
    assert message["tool_calls"][0]["function"]["arguments"] == '{"x":1}'
    assert message["tool_calls"][1]["id"] == "call_b"
    assert answer["usage"]["prompt_tokens_details"]["cached_tokens"] == 300
    assert answer["usage"]["total_tokens"] == 950


def test_scripted_chunks(demo: Demo) -> None:
    demo.rule(reply={"chunks": ["a", "bc"], "finish_reason": "length"}, times=1)
    demo.rule(reply={"text": "abcdefgh", "chunks": 4})
    first, second = (list(lines(demo))[:-1] for _ in range(2))
    assert [c for line in first if (c := content(line))] == ["a", "bc"]
    assert orjson.loads(first[-1][5:])["choices"][0]["finish_reason"] == "length"
    assert [c for line in second if (c := content(line))] == ["ab", "cd", "ef", "gh"]


def test_rules_match_expire_and_repeat(demo: Demo) -> None:
    demo.rule(provider="anthropic", fault={"status": 500})
    demo.rule(contains="nothing of the kind", fault={"status": 501})
    demo.rule(model="other", fault={"status": 502})
    demo.rule(stream=True, fault={"status": 503})
    demo.rule(contains="something", times=1, fault={"status": 504})
    demo.rule(every=3, fault={"status": 505})
    assert [post(demo).status_code for _ in range(7)] == [504, 200, 200, 505, 200, 200, 505]
    assert post(demo, "anthropic").status_code == 500
    assert len(demo.rules()) == 5
    demo.clear()
    assert demo.rules() == [] and post(demo, "anthropic").status_code == 200


def test_a_rule_for_one_request_in_its_header(demo: Demo) -> None:
    rule = {"x-demo-rule": '{"fault": {"status": 503}}'}
    assert [post(demo, **h).status_code for h in (rule, {}, rule)] == [503, 200, 503]
    assert post(demo, **{"x-demo-rule": '{"fault": {"statis": 503}}'}).status_code == 400


def test_a_rule_that_cannot_be_understood_says_why(demo: Demo) -> None:
    with pytest.raises(ValueError, match=r"fault\.statis"):
        demo.rule(fault={"statis": 429})
    assert demo.rules() == []


def test_requests_are_recorded_with_masked_keys(demo: Demo) -> None:
    post(demo, authorization="Bearer sk-secret-1", **{"x-api-key": "sk-secret-2", "x-trace": "t1"})
    (seen,) = demo.requests()
    assert (seen["provider"], seen["model"], seen["stream"], seen["status"]) == ("openai", "m", False, 200)
    assert seen["body"]["messages"] == ASKED["messages"]
    assert seen["headers"]["x-trace"] == "t1"
    assert "sk-secret" not in orjson.dumps(seen).decode()
    assert abs(seen["when"] - time.time()) < 60


def test_requests_are_limited_to_the_last(demo: Demo) -> None:
    for provider in ("anthropic", "gemini", "cohere"):
        post(demo, provider)
    assert [r["provider"] for r in demo.requests(2)] == ["gemini", "cohere"]


def test_counts_and_disconnects(demo: Demo) -> None:
    demo.rule(stream=True, reply=SIXTY, fault={"stall_after": 2, "stall_s": 30})
    stream = lines(demo)
    assert content(next(stream)) == "" and content(next(stream)) == "word1 "
    assert demo.counts() == {
        "total": 1,
        "in_flight": 1,
        "counts": [{"provider": "openai", "model": "m", "requests": 1}],
    }
    stream.close()  # type: ignore[attr-defined]
    wait_until(lambda: demo.counts()["in_flight"] == 0)
    assert demo.requests()[0]["disconnected"] is True


def wait_until(true: Any, seconds: float = 3) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)
