"""The metered routes' bodies, streams and stories, without a gateway."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from fastapi import HTTPException
from hypothesis import given
from hypothesis import strategies as st
from litellm import exceptions as llm

from sentinella_plugins.gateway.metered_failure import from_answer, from_exception
from sentinella_plugins.gateway.metered_request import (
    COMPLETIONS,
    EMBEDDINGS,
    FIELDS,
    MESSAGES,
    RESPONSES,
    parse_metered,
)
from sentinella_plugins.gateway.metered_stream import Frames, error_frame, read
from sentinella_plugins.gateway.upstream_errors import describe
from sentinella_plugins.kernel.errors import BadRequest, UpstreamFailed

HELLO = [{"role": "user", "content": "Hi"}]
LEAST: dict[str, dict[str, Any]] = {
    COMPLETIONS: {"prompt": "Hi"},
    EMBEDDINGS: {"input": "Hi"},
    RESPONSES: {"input": "Hi"},
    MESSAGES: {"messages": HELLO, "max_tokens": 5},
}
REAL: dict[str, dict[str, Any]] = {
    COMPLETIONS: {"prompt": ["a", "b"], "suffix": "!", "logit_bias": {"1": -100}, "stop": ["a"], "seed": 1},
    EMBEDDINGS: {"input": [[1, 2], [3]], "dimensions": 256, "encoding_format": "base64", "user": "u"},
    RESPONSES: {
        "input": [{"role": "user", "content": [{"type": "input_text", "text": "Hi"}]}],
        "tools": [{"type": "function", "name": "f", "parameters": {}}, {"type": "web_search"}],
        "reasoning": {"effort": "low"},
        "text": {"format": {"type": "text"}},
        "metadata": {"a": "b"},
        "background": False,
    },
    MESSAGES: {
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi", "cache_control": {}}]}],
        "max_tokens": 2000,
        "system": [{"type": "text", "text": "Be brief."}],
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "tools": [{"name": "f", "input_schema": {}}, {"type": "web_search_20250305", "name": "web_search"}],
        "tool_choice": {"type": "auto"},
        "metadata": {"user_id": "u"},
        "stop_sequences": ["a"],
        "top_k": 5,
        "context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]},
    },
}  # fmt: skip


@pytest.mark.parametrize("route", REAL)
def test_what_the_real_api_takes_passes_unchanged(route: str) -> None:
    asked = parse_metered(route, {"model": "m", **REAL[route]}, ())
    assert asked.model == "m" and asked.body == REAL[route] and not asked.stream


@pytest.mark.parametrize("route", LEAST)
def test_only_what_is_needed(route: str) -> None:
    asked = parse_metered(route, {**LEAST[route], "model": None}, ())
    assert asked.model == "auto" and asked.body == LEAST[route]
    for missing in LEAST[route]:
        with pytest.raises(BadRequest) as refusal:
            parse_metered(route, {k: v for k, v in LEAST[route].items() if k != missing}, ())
        assert refusal.value.param == missing


@pytest.mark.parametrize("route", LEAST)
def test_an_operators_own_parameter_passes(route: str) -> None:
    assert parse_metered(route, {**LEAST[route], "mirostat": 2}, ("mirostat",)).body["mirostat"] == 2


def test_usage_is_wanted_only_when_asked() -> None:
    asked = {"prompt": "Hi", "stream": True}
    assert parse_metered(COMPLETIONS, asked, ()).wants_usage is False
    options = {"include_usage": True}
    assert parse_metered(COMPLETIONS, {**asked, "stream_options": options}, ()).wants_usage is True


@given(
    st.sampled_from(sorted(FIELDS)),
    st.dictionaries(
        st.sampled_from(sorted({name for fields in FIELDS.values() for name in fields.model_fields})),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(),
            lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
        ),
        max_size=5,
    ),
)
def test_any_json_is_a_request_or_a_bad_request(route: str, data: dict[str, Any]) -> None:
    try:
        parse_metered(route, data, ())
    except BadRequest as error:
        assert error.param and error.message


@given(st.lists(st.integers(1, 40)))
def test_frames_come_whole_however_they_are_cut(sizes: list[int]) -> None:
    stream = b'event: a\r\ndata: {"x": 1}\r\n\r\ndata: [DONE]\n\n'
    frames, got = Frames(), []
    for size in [*sizes, len(stream)]:
        got += frames.feed(stream[:size])
        stream = stream[size:]
    assert got == [b'event: a\ndata: {"x": 1}\n\n', b"data: [DONE]\n\n"]


def frame(body: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(body) + b"\n\n"


@pytest.mark.parametrize(
    "route,body,text",
    [
        (COMPLETIONS, {"choices": [{"index": 0, "text": "a"}, {"index": 1, "text": "b"}]}, "ab"),
        (RESPONSES, {"type": "response.output_text.delta", "delta": "a"}, "a"),
        (RESPONSES, {"type": "response.function_call_arguments.delta", "delta": "{}"}, "{}"),
        (RESPONSES, {"type": "response.output_text.done", "text": "a"}, ""),
        (MESSAGES, {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "a"}}, "a"),
        (MESSAGES, {"type": "content_block_delta", "delta": {"thinking": "a"}}, "a"),
        (MESSAGES, {"type": "ping"}, ""),
    ],
)
def test_what_the_model_said(route: str, body: dict[str, Any], text: str) -> None:
    event = read(route, frame(body), wants_usage=False)
    assert event.text == text and event.frame and not event.ends and not event.failed


@pytest.mark.parametrize(
    "route,given",
    [
        (COMPLETIONS, frame({"error": {"message": "x"}})),
        (COMPLETIONS, b"data: {not json\n\n"),
        (RESPONSES, frame({"type": "response.failed", "response": {}})),
        (RESPONSES, frame({"type": "error", "message": "x"})),
        (MESSAGES, b"event: error\n" + frame({"type": "error", "error": {"type": "overloaded_error"}})),
    ],
)
def test_what_says_that_it_failed(route: str, given: bytes) -> None:
    assert read(route, given, wants_usage=True).failed


@pytest.mark.parametrize(
    "route,given",
    [
        (COMPLETIONS, b"data: [DONE]\n\n"),
        (RESPONSES, frame({"type": "response.completed"})),
        (RESPONSES, frame({"type": "response.incomplete"})),
        (MESSAGES, frame({"type": "message_stop"})),
    ],
)
def test_what_ends_a_stream(route: str, given: bytes) -> None:
    assert read(route, given, wants_usage=False).ends


def test_done_alone_is_no_proof() -> None:
    assert not read(COMPLETIONS, b"data: [DONE]\n\n", wants_usage=False).says_end
    finish = frame({"choices": [{"index": 0, "finish_reason": "stop"}]})
    event = read(COMPLETIONS, finish, wants_usage=False)
    assert event.says_end and b'"text":""' in event.frame


@pytest.mark.parametrize("wanted", [False, True])
def test_usage_of_a_completion(wanted: bool) -> None:
    usage = {"choices": [{"index": 0}], "usage": {"prompt_tokens": 1, "cost": 0.1}}
    event = read(COMPLETIONS, frame(usage), wants_usage=wanted)
    assert event.frame == (frame({"choices": [], "usage": {"prompt_tokens": 1}}) if wanted else b"")


@pytest.mark.parametrize("route", [COMPLETIONS, RESPONSES, MESSAGES])
def test_an_error_frame_is_read_as_one(route: str) -> None:
    told = error_frame(route, UpstreamFailed("No.", code="stream_interrupted"), "req_1")
    assert read(route, told, wants_usage=False).failed and b"req_1" in told and told.endswith(b"\n\n")


@pytest.mark.parametrize(
    "said,told",
    [
        ('{"error":{"message":"Odd \\"x\\".","type":"y"}}', 'Odd "x".'),
        ("Error code: 500 - {'error': {'message': 'It broke.', 'type': 'z'}}", "It broke."),
        ('{"type":"error","error":{"type":"a","message":"Cut of', "Cut of"),
        ("[Errno 104] Reset. Handle with `litellm.InternalServerError`.", "[Errno 104] Reset."),
        ("litellm.Odd: something", "The model's provider failed."),
        ("Plain words.", "Plain words."),
    ],
)
def test_the_providers_own_words(said: str, told: str) -> None:
    assert describe(Exception(said)) == told


@pytest.mark.parametrize(
    "status,told",
    [
        (400, 400),
        (401, 502),
        (403, 502),
        (404, 502),
        (422, 400),
        (429, 503),
        (500, 502),
        (503, 503),
        (504, 504),
    ],
)
def test_an_answer_without_a_known_exception(status: int, told: int) -> None:
    body = b'{"error": {"message": "litellm.Odd: {\\"message\\": \\"Words.\\"}", "code": "x"}}'
    failure = from_answer(status, body)
    assert failure.status == told and failure.message == "Words."
    assert from_answer(status, b"<html>").status == told


def test_a_guardrail_keeps_its_words() -> None:
    refusal = from_exception(HTTPException(422, {"error": 'No "message": here.'}))
    assert (refusal.status, refusal.message) == (422, 'No "message": here.')


def test_an_upstreams_exception_is_translated() -> None:
    error = llm.RateLimitError("OpenAIException - Slow down.", "openai", "gpt-4o")
    failure = from_exception(error)
    assert (failure.status, failure.code, failure.message) == (503, "upstream_rate_limited", "Slow down.")
