"""What is never shared, and why."""

from __future__ import annotations

from typing import Any

import pytest

from sentinella_plugins.cache.config import CacheConfig
from sentinella_plugins.cache.eligibility import (
    BYPASSES,
    EXACT_ONLY,
    NOT_KEPT,
    eligible,
    narrowed,
    unkeepable,
    wish_of,
)
from sentinella_plugins.cache.fingerprint import keys_of
from sentinella_plugins.cache.questions import depends_on_time, is_personal
from sentinella_plugins.kernel.call import Attempt, Call, Outcome
from sentinella_plugins.kernel.errors import BadRequest
from tests.unit.cache.parts import body, call, success

CONFIG = CacheConfig()
IN_2026 = 1_790_000_000.0


def bypass(asked: Call, **settings: Any) -> str | None:
    config = CacheConfig.model_validate(settings)
    first = eligible(asked, wish_of(asked), config).bypass
    return first or narrowed(asked, keys_of(asked), config, IN_2026).bypass


def exact_only(asked: Call, **settings: Any) -> str | None:
    return narrowed(asked, keys_of(asked), CacheConfig.model_validate(settings), IN_2026).exact_only


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (call(), None),
        (call(temperature=0.7), None),
        (call(temperature=1), None),
        (call(stream=True), None),
        (call(tools=[]), None),
        (call(modalities=["text"]), None),
        (call(route="/v1/embeddings"), "route"),
        (call(options={"cache": {"mode": "bypass"}}), "mode"),
        (call(headers={"cache-control": "max-age=5, no-store"}), "mode"),
        (call(tools=[{"type": "function"}]), "tools"),
        (call(functions=[{"name": "f"}]), "tools"),
        (call(web_search_options={"a": 1}), "tools"),
        (call(options={"tool_execution": "gateway"}), "tools"),
        (call(before=[{"role": "tool", "content": "12", "tool_call_id": "1"}]), "tools"),
        (call(before=[{"role": "assistant", "tool_calls": [{"id": "1"}]}]), "tools"),
        (call(n=2), "choices"),
        (call(logprobs=True), "logprobs"),
        (call(temperature=1.1), "temperature"),
        (call(modalities=["text", "audio"]), "modality"),
        (call(audio={"voice": "alloy"}), "modality"),
        (call("What is the weather in Oslo?"), "time"),
        (call([{"type": "text", "text": "a"}, {"type": "text", "text": "latest news"}]), "time"),
        (call("Where is my order?"), "personal"),
        (call(options={"session_id": "s"}), None),
    ],
)
def test_bypasses(asked: Call, reason: str | None) -> None:
    assert bypass(asked) == reason
    assert reason is None or reason in BYPASSES


def test_bypasses_by_settings() -> None:
    assert bypass(call(), enabled=False) == "disabled"
    assert bypass(call(options={"session_id": "s"}), sessions="off") == "session"
    assert bypass(call(temperature=0.1), max_temperature=0) == "temperature"
    assert bypass(call("Where is my order?"), personal="exact") is None


@pytest.mark.parametrize(
    ("asked", "settings", "reason"),
    [
        (call(), {}, None),
        (call(), {"semantic": False}, "semantic_off"),
        (call([{"type": "image_url", "image_url": {}}]), {}, "attachment"),
        (call(before=[{"role": "user", "content": [{"type": "image_url"}]}]), {}, "attachment"),
        (call(""), {}, "no_question"),
        (call(seed=3), {}, "seed"),
        (call("Where is my order?"), {"personal": "exact"}, "personal"),
        (call("word " * 1_000), {}, "too_long"),
    ],
)
def test_exact_only(asked: Call, settings: dict[str, Any], reason: str | None) -> None:
    assert exact_only(asked, **settings) == reason
    assert reason is None or reason in EXACT_ONLY


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (success(), None),
        (Outcome(status="error"), "status"),
        (Outcome(status="cancelled", body=body()), "status"),
        (success(None), "no_body"),
        (success({"choices": []}), "no_body"),
        (success({"choices": body()["choices"] * 2}), "no_body"),
        (success(body("Half a sen", "length")), "finish_reason"),
        (success(body("", "content_filter")), "finish_reason"),
        (success(body(None, "tool_calls", tool_calls=[{"id": "1"}])), "tools"),
        (success(body("Hm", tool_calls=[{"id": "1"}])), "tools"),
        (success(body("No.", refusal="I can't help with that.")), "refusal"),
        (success(body("I'm sorry, but I can't help with that.")), "refusal"),
        (success(body("I\u2019m sorry, I can\u2019t do it.")), "refusal"),
        (success(body("Unfortunately, I cannot say.")), "refusal"),
        (success(body("As an AI, I have no opinion.")), "refusal"),
        (success(body("I can think of three reasons.")), None),
        (success(body(" \n")), "empty"),
        (success(body(None)), "empty"),
    ],
)
def test_not_kept(outcome: Outcome, reason: str | None) -> None:
    assert unkeepable(call(), outcome, CONFIG) == reason
    assert reason is None or reason in NOT_KEPT


def test_the_answer_of_a_model_that_stood_in_is_not_kept() -> None:
    failed = Attempt(model="gpt", provider="openai", status="error", ms=1)
    other = Attempt(model="claude", provider="anthropic", status="success", ms=1)
    assert unkeepable(call(), success(model="claude", attempts=(failed, other)), CONFIG) == "fallback"
    again = Attempt(model="gpt", provider="openai", status="success", ms=1)
    assert unkeepable(call(), success(attempts=(failed, again)), CONFIG) is None


@pytest.mark.parametrize(
    "question",
    [
        "What's the weather like in Paris today?",
        "latest iPhone",
        "Who is the current president of France?",
        "Bitcoin price",
        "How much is a Tesla?",
        "Who won the match?",
        "news about Apple",
        "What time is it in Tokyo?",
        "How many days until Christmas?",
        "Who won the 2026 election?",
        "Plans for 2027",
        "Wie ist das Wetter morgen in Berlin?",
        "Quelle est la météo aujourd'hui ?",
        "¿Qué noticias hay hoy?",
        "今天天气怎么样",
        "今日のニュース",
        "Какая сегодня погода",
    ],
)
def test_questions_that_depend_on_time(question: str) -> None:
    assert depends_on_time(question, IN_2026)


@pytest.mark.parametrize(
    "question",
    [
        "What is the capital of France?",
        "When did Rome fall?",
        "How do I sort a list in Python?",
        "Explain photosynthesis",
        "What happened in 1999?",
        "Summarise the novel 1984.",
        "Write a function that knows when to stop",
        "Translate 'thank you' to French",
    ],
)
def test_questions_that_do_not(question: str) -> None:
    assert not depends_on_time(question, IN_2026)
    assert not is_personal(question)


@pytest.mark.parametrize(
    "question",
    [
        "Where is my order?",
        "What's my name?",
        "What is the balance of my savings account?",
        "cancel my subscription",
        "Who am I?",
        "What did I tell you before?",
        "Wo ist meine Bestellung?",
        "Où est ma commande ?",
        "¿Dónde está mi pedido?",
        "我的订单在哪里",
        "где мой заказ",
    ],
)
def test_personal_questions(question: str) -> None:
    assert is_personal(question)


def test_of_a_long_text_its_ends_count() -> None:
    filler = "word " * 2_000
    assert depends_on_time("What is new today? " + filler, IN_2026)
    assert depends_on_time(filler + " And today?", IN_2026)
    assert not depends_on_time(filler + " today " + filler, IN_2026)


@pytest.mark.parametrize(
    ("control", "mode", "age"),
    [
        ("", "default", None),
        ("no-cache", "refresh", None),
        ("No-Store", "bypass", None),
        ("only-if-cached, max-age=60", "only", 60.0),
        ("max-age=0", "default", 0.0),
    ],
)
def test_cache_control(control: str, mode: str, age: float | None) -> None:
    wish = wish_of(call(headers={"cache-control": control}))
    assert (wish.mode, wish.max_age_s) == (mode, age)


def test_the_body_comes_before_the_header() -> None:
    asked = call(headers={"cache-control": "no-store"}, options={"cache": {"mode": "refresh", "ttl_s": 5}})
    assert (wish_of(asked).mode, wish_of(asked).ttl_s) == ("refresh", 5)


def test_tags() -> None:
    assert wish_of(call(metadata={"cache_tags": " b, a,b "})).tags == ("a", "b")
    assert wish_of(call(metadata={"other": "x"})).tags == ()


@pytest.mark.parametrize("tags", ["", ",", 5, ["a"], "x" * 65, ",".join(map(str, range(11))), "a\nb"])
def test_malformed_tags(tags: object) -> None:
    with pytest.raises(BadRequest, match="cache_tags"):
        wish_of(call(metadata={"cache_tags": tags}))
