"""When two requests are the same."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinella_plugins.cache.fingerprint import chars_of, keys_of
from tests.unit.cache.parts import call


@pytest.mark.parametrize(
    "changes",
    [
        {"stream": True},
        {"user": "u1"},
        {"metadata": {"a": "b"}},
        {"stream_options": {"include_usage": True}},
        {"store": True},
        {"n": 1},
        {"tools": []},
        {"text": "  What is the capital of France?\n"},
        {"text": [{"type": "text", "text": "What is the capital of France?"}]},
    ],
)
def test_what_does_not_matter(changes: dict[str, Any]) -> None:
    assert keys_of(call(**changes)) == keys_of(call())


@pytest.mark.parametrize(
    "changes",
    [
        {"tenant": "other"},
        {"models": ("gpt*",)},
        {"model": "claude"},
        {"temperature": 0.5},
        {"max_tokens": 5},
        {"response_format": {"type": "json_object"}},
        {"tools": [{"type": "function"}]},
        {"seed": 1},
        {"options": {"session_id": "s1"}},
        {"options": {"routing": {"objective": "best"}}},
        {"before": ()},
        {"before": ({"role": "system", "content": "You help!"},)},
        {"before": ({"role": "developer", "content": "You help."},)},
    ],
)
def test_what_makes_another_scope(changes: dict[str, Any]) -> None:
    plain, other = keys_of(call()), keys_of(call(**changes))
    assert other.scope != plain.scope
    assert other.exact != plain.exact


def test_the_last_question_is_not_part_of_the_scope() -> None:
    one, other = keys_of(call("one")), keys_of(call("other"))
    assert one.scope == other.scope
    assert one.exact != other.exact
    assert (one.question, other.question) == ("one", "other")


def test_a_turn_before_is_part_of_the_scope() -> None:
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    assert keys_of(call("one", before=turns)).scope != keys_of(call("one", before=turns[:1])).scope


def test_messages_cannot_be_shifted_into_one_another() -> None:
    one = keys_of(call("b", before=[{"role": "user", "content": "a"}]))
    other = keys_of(call('b"},{"role":"user","content":"a', before=[]))
    assert one.exact != other.exact


def test_the_same_text_in_two_unicode_forms() -> None:
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    assert keys_of(call(composed)) == keys_of(call(decomposed))


def test_whole_numbers_are_whole_however_written() -> None:
    assert keys_of(call(temperature=1)) == keys_of(call(temperature=1.0))
    assert keys_of(call(temperature=1)) != keys_of(call())


def test_an_attachment_is_no_question() -> None:
    parts = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": "data:x"}}]
    assert keys_of(call(parts)).question == ""
    assert keys_of(call(parts)).exact != keys_of(call(parts[:1])).exact


def test_an_answer_at_the_end_is_continued_not_asked() -> None:
    asked = call("one")
    prefilled = replace(
        asked, body={"messages": [*asked.body["messages"], {"role": "assistant", "content": "It is"}]}
    )
    assert keys_of(prefilled).question == ""
    assert keys_of(prefilled).exact != keys_of(asked).exact


def test_a_person_where_it_matters() -> None:
    assert keys_of(call(), person="u1") != keys_of(call(), person="u2")


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@given(TEXTS, TEXTS)
def test_equal_texts_have_equal_keys_and_others_do_not(one: str, other: str) -> None:
    same = normalize("NFC", one).strip() == normalize("NFC", other).strip()
    assert (keys_of(call(one)) == keys_of(call(other))) is same


def test_a_hundred_thousand_tokens() -> None:
    long = call("word " * 100_000)
    started = time.perf_counter()
    keys_of(long)
    assert time.perf_counter() - started < 0.5
    assert chars_of(long) > 300_000
