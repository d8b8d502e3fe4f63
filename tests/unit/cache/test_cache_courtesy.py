"""What is asked, without greetings and thanks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinella_plugins.cache.courtesy import asked_of

ASKED = "What is the capital of France?"


@pytest.mark.parametrize(
    "text",
    [
        f"Hi, {ASKED}",
        f"Hello! Hi there, {ASKED} Thanks a lot.",
        f"Please: Question: {ASKED}",
        f"Good morning. {ASKED} Thank you so much!",
        f"Could you tell me? {ASKED} :)",
        f"So, {ASKED} Please! ...",
        f"{ASKED} Many thanks in advance.",
    ],
)
def test_courtesies_are_left_out(text: str) -> None:
    assert asked_of(text) == ASKED


@pytest.mark.parametrize(
    "text",
    [
        "Hi",
        "Thanks!",
        "Please.",
        "Hello, world in Python",
        "Hi! How do I reply to such a message?",
        "Translate into French: Good morning. Thank you.",
        "What does it mean? Repeat my first word, please.",
        "Good evening. Which part of the day do I say that for?",
        "Write a card that ends with: thanks a lot",
        "What is quality",
        "Hi, France",
    ],
)
def test_where_they_may_matter_they_stay(text: str) -> None:
    assert asked_of(text) == text


COURTEOUS = st.sampled_from(["hi", "Hello", "please", "thanks", ",", ".", "?", " ", ":)", "is it", "..."])


@given(st.one_of(st.text(), st.lists(COURTEOUS, max_size=400).map("".join)))
def test_what_is_left_is_a_part_of_it(text: str) -> None:
    asked = asked_of(text)
    assert asked in text
    assert bool(asked) == bool(text)
