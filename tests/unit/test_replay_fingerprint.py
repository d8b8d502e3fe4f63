from __future__ import annotations

from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinella_plugins.kernel.call import Call, Options, Principal
from sentinella_plugins.replay.config import ReplayConfig
from sentinella_plugins.replay.fingerprint import may_share, of_flight, of_key, of_request

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NUMBERS = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
LEAVES: st.SearchStrategy[Any] = st.none() | st.booleans() | NUMBERS | TEXT
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner))
BODIES = st.dictionaries(TEXT, VALUES, max_size=5)
CALL = Call(
    id="req_1",
    route="/v1/chat/completions",
    requested="gpt",
    model="gpt",
    body={"messages": [{"role": "user", "content": "hi"}], "temperature": 0},
    principal=Principal(tenant="acme", key_id="key_1"),
    received_at=1.0,
    started=1.0,
)
DETERMINISTIC = ReplayConfig()
ALWAYS = ReplayConfig(coalesce="always")


def _turned(value: Any) -> Any:
    """The same JSON with all fields in the opposite order."""
    if isinstance(value, dict):
        return {name: _turned(value[name]) for name in reversed(value)}
    return [_turned(item) for item in value] if isinstance(value, list) else value


@given(BODIES)
def test_the_order_of_fields_is_no_difference(body: dict[str, Any]) -> None:
    one, other = CALL.evolve(body=body), CALL.evolve(body=_turned(body))
    assert of_request(one) == of_request(other)
    assert of_flight(one) == of_flight(other)


def _tagged(value: Any) -> Any:
    """JSON tells `1`, `1.0` and `true` apart, and so must the comparison."""
    if isinstance(value, dict):
        return {name: _tagged(inner) for name, inner in value.items()}
    return [_tagged(item) for item in value] if isinstance(value, list) else (type(value), repr(value))


@given(BODIES, BODIES)
def test_two_bodies_have_one_fingerprint_only_when_they_are_equal(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    same = of_request(CALL.evolve(body=one)) == of_request(CALL.evolve(body=other))
    assert same == (_tagged(one) == _tagged(other))


@given(st.tuples(TEXT, TEXT), st.tuples(TEXT, TEXT))
def test_route_and_model_do_not_flow_into_each_other(one: tuple[str, str], other: tuple[str, str]) -> None:
    def calls(pair: tuple[str, str]) -> Call:
        return CALL.evolve(route=pair[0], requested=pair[1])

    assert (of_request(calls(one)) == of_request(calls(other))) == (one == other)


OTHERS = {
    "route": {"route": "/v1/embeddings"},
    "requested": {"requested": "auto"},
    "body": {"body": {"messages": []}},
    "session": {"options": Options(session_id="s")},
    "template": {"options": Options(template={"name": "t"})},
    "routing": {"options": Options(routing={"objective": "cheapest"})},
    "cache": {"options": Options(cache={"mode": "bypass"})},
}


@pytest.mark.parametrize("changes", OTHERS.values(), ids=OTHERS.keys())
def test_what_the_client_asks_for_counts(changes: dict[str, object]) -> None:
    assert of_request(CALL.evolve(**changes)) != of_request(CALL)
    assert of_flight(CALL.evolve(**changes)) != of_flight(CALL)


def test_who_asks_counts_only_for_sharing() -> None:
    for principal in (
        Principal(tenant="other", key_id="key_1"),
        Principal(tenant="acme", key_id="key_1", models=("gpt",)),
    ):
        assert of_request(CALL.evolve(principal=principal)) == of_request(CALL)
        assert of_flight(CALL.evolve(principal=principal)) != of_flight(CALL)
    colleague = CALL.evolve(id="req_2", principal=Principal(tenant="acme", key_id="key_2"), started=9.0)
    assert of_flight(colleague) == of_flight(CALL)
    assert of_flight(CALL.evolve(model="claude")) != of_flight(CALL)


def test_any_mapping_will_do() -> None:
    frozen = CALL.evolve(body=MappingProxyType(dict(CALL.body)), options=Options(cache=MappingProxyType({})))
    assert of_request(frozen) == of_request(CALL)


def test_a_key_is_kept_as_a_hash() -> None:
    assert len(of_key("k")) == 64
    assert of_key("k") != of_key("K")
    assert of_key("\udc80")


def _asking(**body: object) -> Call:
    return CALL.evolve(body={"messages": [], **body})


@pytest.mark.parametrize(
    ("call", "deterministic", "always"),
    [
        (_asking(temperature=0), True, True),
        (_asking(temperature=0.0, n=1, tools=[]), True, True),
        (_asking(seed=7, temperature=1), True, True),
        (_asking(), False, True),
        (_asking(temperature=0.1), False, True),
        (_asking(temperature=0, n=2), False, True),
        (_asking(temperature=0, tools=[{}]), False, True),
        (_asking(temperature=0, functions=[{}]), False, True),
        (_asking(temperature=0, web_search_options={"a": 1}), False, True),
        (CALL.evolve(options=Options(session_id="s")), False, True),
        (CALL.evolve(options=Options(tool_execution="gateway")), False, True),
        (CALL.evolve(options=Options(cache={"mode": "bypass"})), False, False),
        (CALL.evolve(options=Options(cache={"mode": "refresh"})), False, False),
        (CALL.evolve(options=Options(cache={"mode": "default"})), True, True),
        (CALL.evolve(stream=True), False, False),
        (CALL.evolve(route="/v1/embeddings"), False, False),
    ],
)
def test_which_calls_share(call: Call, deterministic: bool, always: bool) -> None:
    assert may_share(call, DETERMINISTIC) is deterministic
    assert may_share(call, ALWAYS) is always
    assert may_share(call, ReplayConfig(coalesce="off")) is False


def test_a_lease_must_outlive_a_missed_heartbeat() -> None:
    with pytest.raises(ValueError, match="lease_s"):
        ReplayConfig(heartbeat_s=10, lease_s=19)
