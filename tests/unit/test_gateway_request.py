"""The body of a chat call: what passes, what is refused and by which name."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinella_plugins.gateway.chat_request import decode, parse_chat
from sentinella_plugins.gateway.metered_request import FIELDS as METERED_FIELDS
from sentinella_plugins.gateway.metered_request import parse_metered
from sentinella_plugins.kernel.errors import BadRequest

HELLO = [{"role": "user", "content": "hello"}]
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from(
    [
        "model",
        "messages",
        "stream",
        "stream_options",
        "max_tokens",
        "n",
        "temperature",
        "stop",
        "tools",
        "user",
    ]
    + [
        "tool_choice",
        "response_format",
        "session_id",
        "template",
        "tool_execution",
        "routing",
        "cache",
        "metadata",
    ]
)


def refused(**fields: Any) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        parse_chat({"messages": HELLO, **fields}, ())
    return caught.value


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": [{"role": "king", "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages.0.content"),
        ({"messages": [{"content": "x"}]}, "messages.0.role"),
        ({"model": 5}, "model"),
        ({"stream": "yes"}, "stream"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"n": 1.5}, "n"),
        ({"temperature": "hot"}, "temperature"),
        ({"stop": [1]}, "stop"),
        ({"tools": {}}, "tools"),
        ({"routing": {"objective": "luck"}}, "routing.objective"),
        ({"routing": {"speed": 1}}, "routing.speed"),
        ({"cache": {"threshold": 2}}, "cache.threshold"),
        ({"session_id": ""}, "session_id"),
        ({"tool_execution": "server"}, "tool_execution"),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, Any], param: str) -> None:
    assert refused(**fields).param == param


@pytest.mark.parametrize(
    "name",
    ["api_base", "api_key", "base_url", "mock_response", "fallbacks", "num_retries", "custom_llm_provider"]
    + ["extra_headers", "litellm_metadata", "proxy_server_request", "model_list"]
    + ["aws_secret_access_key", "timeout"],
)  # fmt: skip
def test_an_argument_of_litellm_is_not_a_field(name: str) -> None:
    assert refused(**{name: "http://127.0.0.1:9"}).param == name
    for route in METERED_FIELDS:
        with pytest.raises(BadRequest) as refusal:
            parse_metered(route, {name: "http://127.0.0.1:9"}, ())
        assert refusal.value.param == name


def test_what_is_ours_is_taken_out_of_the_body() -> None:
    ours = {
        "session_id": "s",
        "template": {"name": "t"},
        "tool_execution": "gateway",
        "routing": {"objective": "best"},
        "cache": {"mode": "bypass"},
    }
    asked = parse_chat({"model": "gpt-4o", "messages": HELLO, "temperature": 0.5, "stop": None, **ours}, ())
    assert asked.body == {"messages": HELLO, "temperature": 0.5}
    assert asked.model == "gpt-4o"
    assert asked.options.session_id == "s"
    assert asked.options.template == {"name": "t"}
    assert asked.options.tool_execution == "gateway"
    assert asked.options.routing == {"objective": "best"}
    assert asked.options.cache == {"mode": "bypass"}


@pytest.mark.parametrize("model", [{}, {"model": None}, {"model": "auto"}, {"model": ""}])
def test_without_a_model_the_gateway_chooses(model: dict[str, Any]) -> None:
    assert parse_chat({"messages": HELLO, **model}, ()).model == "auto"


def test_an_operators_own_parameter_passes() -> None:
    assert parse_chat({"messages": HELLO, "mirostat": 2}, ("mirostat",)).body["mirostat"] == 2


@given(st.dictionaries(FIELDS, JSON, max_size=6))
def test_any_json_is_a_request_or_a_bad_request(data: dict[str, Any]) -> None:
    try:
        asked = parse_chat(decode(json.dumps(data).encode()), ())
    except BadRequest as error:
        assert error.message
    else:
        assert asked.body["messages"]


@given(st.binary(max_size=60))
def test_any_bytes_are_an_object_or_a_bad_request(raw: bytes) -> None:
    try:
        assert isinstance(decode(raw), dict)
    except BadRequest as error:
        assert error.status == 400


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b'"x"', b"\xff\xfe", b'{"a": NaN}', b"[" * 100_000, b'{"a": "\\ud800"}']
)
def test_what_is_not_a_json_object_is_refused(raw: bytes) -> None:
    with pytest.raises(BadRequest):
        decode(raw)
