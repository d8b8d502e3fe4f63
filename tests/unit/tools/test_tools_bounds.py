from __future__ import annotations

from typing import Any

import pytest

from sentinella_plugins.kernel.money import Nano
from sentinella_plugins.tools.bounds import Loop
from sentinella_plugins.tools.config import BoundsConfig
from sentinella_plugins.tools.conversation import calls_of, continued, event, name_of, only_names
from sentinella_plugins.tools.models import Toolbox, ToolCall, ToolResult

BOX = Toolbox(tenant="acme", request_id="r", offered={}, clients=frozenset({"mine"}))


def loop(**bounds: Any) -> Loop:
    return Loop(BoundsConfig(**bounds), BOX, 100.0)


def call(name: str = "weather", number: int = 1) -> ToolCall:
    return ToolCall(id=f"c{number}", name=name, arguments="{}")


def result(name: str = "weather", *, wrong: bool = False, error: str | None = None) -> ToolResult:
    return ToolResult(id="c1", name=name, content="x", ok=not wrong, ms=1.0, args_error=wrong, error=error)


def test_within_all_bounds() -> None:
    running = loop()
    for _ in range(8):
        assert running.stops([call()], 101.0) is None
        running.ran([result()])
    assert running.stops([call()], 101.0) == "max_rounds"
    assert running.public() == {"rounds": 8, "calls": 8, "stopped": "max_rounds"}


def test_each_bound() -> None:
    many = [call(number=n) for n in range(33)]
    assert loop().stops(many, 101.0) == "max_calls"
    assert loop(max_calls=33).stops(many, 101.0) is None
    assert loop().stops([call()], 160.0) == "max_seconds"
    dear = loop(max_cost_usd="0.01")
    assert dear.stops([call()], 101.0) is None
    dear.spend(Nano(4_000_000))
    assert dear.stops([call()], 101.0) is None
    dear.spend(Nano(6_000_000))
    assert dear.stops([call()], 101.0) == "max_cost"


def test_one_call_of_the_clients_hands_all_back() -> None:
    assert loop().stops([call(), call("mine")], 101.0) == "client_tools"


def test_two_wrong_rounds_in_a_row_end_it() -> None:
    running = loop()
    running.ran([result(wrong=True), result("other", wrong=True)])
    assert running.stops([call()], 101.0) is None
    running.ran([result()])
    running.ran([result(wrong=True)])
    assert running.stops([call()], 101.0) is None
    running.ran([result("third")])
    running.ran([result(wrong=True), result()])
    assert running.stops([call()], 101.0) == "arguments"


def test_a_stop_stays() -> None:
    running = loop()
    assert running.stops([call()], 200.0) == "max_seconds"
    assert running.stops([call()], 101.0) == "max_seconds"


@pytest.mark.parametrize(
    ("tool", "name", "bare"),
    [
        ({"type": "function", "function": {"name": "x"}}, "x", True),
        ({"type": "function", "function": {"name": "x", "parameters": {}}}, "x", False),
        ({"type": "function", "function": {"name": 5}}, None, False),
        ({"type": "function"}, None, False),
        ({"type": "web_search", "function": {"name": "x"}}, None, False),
        ({}, None, False),
    ],
)
def test_what_a_request_names(tool: dict[str, Any], name: str | None, bare: bool) -> None:
    assert (name_of(tool), only_names(tool)) == (name, bare)


def test_the_next_question() -> None:
    asked = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"a": 1}'}, "x": 1}
    message = {
        "role": "assistant",
        "content": None,
        "refusal": None,
        "tool_calls": [asked],
        "thinking_blocks": [1],
    }
    body = {"messages": [{"role": "user", "content": "?"}], "tool_choice": "required", "tools": []}
    following = continued(body, message, [result()])
    assert following["tool_choice"] == "auto" and body["tool_choice"] == "required"
    assert following["messages"] == [
        {"role": "user", "content": "?"},
        {"role": "assistant", "content": None, "tool_calls": [asked], "thinking_blocks": [1]},
        {"role": "tool", "tool_call_id": "c1", "content": "x"},
    ]
    assert continued({**body, "tool_choice": "none"}, message, [])["tool_choice"] == "none"


def test_arguments_that_are_no_json_are_not_sent_again() -> None:
    asked = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{oops"}}
    told = result(wrong=True, error="malformed_arguments")
    following = continued({"messages": []}, {"tool_calls": [asked]}, [told])
    assert following["messages"][0]["tool_calls"][0]["function"]["arguments"] == "{}"


def test_malformed_calls_keep_their_places() -> None:
    odd = [None, {}, {"function": 5}, {"id": "c", "function": {"name": "x", "arguments": None}}]
    assert [(c.id, c.name, c.arguments) for c in calls_of({"tool_calls": odd})] == [
        ("call_0", "", ""),
        ("call_1", "", ""),
        ("call_2", "", ""),
        ("c", "x", ""),
    ]
    assert calls_of({"tool_calls": "x"}) == calls_of({}) == ()
    assert len(continued({}, {"tool_calls": odd}, [])["messages"][0]["tool_calls"]) == 3


def test_events() -> None:
    assert event(call(), "started") == {"tool": {"name": "weather", "id": "c1", "status": "started"}}
    assert event(call(), "finished", result()) == {
        "tool": {"name": "weather", "id": "c1", "status": "finished", "ok": True, "ms": 1.0}
    }
