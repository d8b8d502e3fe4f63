"""What a body asks for."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinella_plugins.kernel.call import Call
from sentinella_plugins.router.config import ReadingConfig
from sentinella_plugins.router.heuristic import HeuristicPredictor
from sentinella_plugins.router.request import Request, read
from tests.unit.router.parts import call, encoding

CONFIG = ReadingConfig()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)


def of(*messages: dict[str, Any], **fields: Any) -> Request:
    return read(call(**{"messages": list(messages), **fields}), CONFIG)


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def test_the_last_user_turn_is_the_question() -> None:
    said = {"role": "assistant", "content": "Hello."}
    request = of(
        {"role": "system", "content": "Be kind."},
        user("Hi, I need help with my garden"),
        said,
        user("When do I plant the tomatoes in Oslo, Norway?"),
    )
    assert request.question == request.text == "When do I plant the tomatoes in Oslo, Norway?"
    assert request.messages == 4 and request.later_turn


def test_a_short_question_is_read_with_the_one_before() -> None:
    request = of(
        user("Write a parser in Rust for TOML."), {"role": "assistant", "content": "..."}, user("go on")
    )
    assert request.question == "go on" and request.text == "Write a parser in Rust for TOML.\ngo on"


def test_images_tools_and_formats_are_needs() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 400_000}}
    request = of(
        user([{"type": "text", "text": "What is this?"}, image, image]),
        tools=[{"type": "function", "function": {"name": "f"}}],
        response_format={"type": "json_schema", "json_schema": {}},
        reasoning_effort="high",
        max_tokens=50,
        n=3,
    )
    assert request.needs == {"vision", "tools", "json_schema", "reasoning"}
    assert (request.images, request.tools, request.output_tokens, request.choices) == (2, 1, 50, 3)
    assert request.text == "What is this?" and 1_600 < request.prompt_tokens < 1_700


@pytest.mark.parametrize("body", [{"prompt": "Say hi."}, {"input": "Say hi."}, {"input": ["Say hi.", "x"]}])
def test_other_routes_have_other_bodies(body: dict[str, Any]) -> None:
    asked = call().evolve(body=body)
    assert read(asked, CONFIG).text == "Say hi."


@pytest.mark.parametrize("text", ["word " * 80_000, "語" * 100_000, "a\u0301" * 200_000])
def test_a_hundred_thousand_tokens_are_read_at_once(text: str) -> None:
    started = perf_counter()
    request = of(user(text))
    HeuristicPredictor().features(request.text, None)
    assert perf_counter() - started < 0.1
    assert len(request.text) <= CONFIG.max_chars and request.characters == len(text)
    assert 90_000 < request.prompt_tokens < 210_000


def test_very_many_messages_are_counted_by_a_part_of_them() -> None:
    request = of(*[user("four letters here")] * 50_000)
    assert request.messages == 50_000 and 400_000 < request.prompt_tokens < 450_000


def test_an_empty_prompt_is_a_prompt() -> None:
    request = of(user(""))
    assert request.text == "" and request.prompt_tokens < 10
    features = HeuristicPredictor().features(request.text, None)
    assert features.task == "general" and features.complexity < 0.1


def test_turns_of_a_conversation_share_a_session() -> None:
    opening, answer = (
        user("Tell me about the moons of Jupiter, please."),
        {"role": "assistant", "content": "Io."},
    )
    first, second = of(opening), of(opening, answer, user("And Europa?"))
    assert first.session == second.session is not None
    assert not first.later_turn and second.later_turn
    assert of(user("Something else entirely.")).session != first.session


def test_a_session_belongs_to_its_tenant() -> None:
    sessions = {read(call(session="s1", tenant=tenant), CONFIG).session for tenant in ("a", "b")}
    keys = {read(call(prompt_cache_key="k", tenant=tenant), CONFIG).session for tenant in ("a", "b")}
    assert len(sessions | keys) == 4 and None not in sessions | keys


@given(
    st.dictionaries(
        st.sampled_from(["messages", "input", "prompt", "tools", "n", "max_tokens", "system"]), JSON
    )
)
def test_no_body_is_too_strange(body: dict[str, Any]) -> None:
    asked: Call = call().evolve(body=body)
    request = read(asked, CONFIG)
    assert request.prompt_tokens >= 0 and request.choices >= 1


@given(st.text(max_size=400))
def test_heuristics_read_everything(text: str) -> None:
    predictor = HeuristicPredictor()
    features = predictor.features(text, encoding(text), messages=3, images=1, tools=2)
    assert 0 <= features.complexity <= 1
    restored = predictor.restore_features(features.values, features.task)
    assert restored.complexity == pytest.approx(features.complexity, abs=1e-6)
