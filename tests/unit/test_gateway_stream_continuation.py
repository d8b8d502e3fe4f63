"""Taking up an answer: nothing is lost and nothing is said twice, however the rest arrives."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinella_plugins.gateway.continuation import Continuation, continued

# Every word once: a text that repeats itself cannot be told from a model that does.
WHOLE = "".join(f"w{number * 7919 % 10007}, " for number in range(120))
LEAST, MOST = 8, 200


def chunk(content: str | None, finish: str | None = None) -> dict[str, Any]:
    delta = {} if content is None else {"content": content}
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def joined(said: str, batches: list[list[dict[str, Any]]]) -> str:
    overlap = Continuation(said)
    trimmed = [body for batch in batches for body in overlap.trim(batch)]
    return said + "".join(
        choice["delta"].get("content") or "" for body in trimmed for choice in body["choices"]
    )


def in_pieces(text: str, cuts: list[int]) -> list[str]:
    edges = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    return [text[a:b] for a, b in pairwise(edges)]


overlaps = st.just(0) | st.integers(LEAST, MOST)
cut_places = st.lists(st.integers(0, 2_000), max_size=15)


@given(st.integers(1, len(WHOLE) - 1), overlaps, cut_places)
def test_the_text_joins_without_gap_or_repetition(broke: int, overlap: int, cuts: list[int]) -> None:
    said = WHOLE[:broke]
    again = min(overlap, len(said))
    again = again if again >= LEAST else 0
    rest = WHOLE[broke - again :]
    batches = [[chunk(piece)] for piece in in_pieces(rest, cuts)] + [[chunk(None, "stop")]]
    assert joined(said, batches) == WHOLE


@given(st.integers(1, len(WHOLE) - 1), overlaps, cut_places)
def test_also_when_all_of_it_comes_at_once(broke: int, overlap: int, cuts: list[int]) -> None:
    said = WHOLE[:broke]
    again = min(overlap, len(said))
    rest = WHOLE[broke - (again if again >= LEAST else 0) :]
    batch = [chunk(piece) for piece in in_pieces(rest, cuts)]
    batch[-1]["choices"][0]["finish_reason"] = "stop"
    assert joined(said, [batch]) == WHOLE


@pytest.mark.parametrize("rest", ["", "w0, "])
def test_a_short_rest_is_not_swallowed(rest: str) -> None:
    """`w0, ` was said long before: it is held back at first, and told when the model stops."""
    assert joined(WHOLE[:100], [[chunk(rest)], [chunk(None, "stop")]]) == WHOLE[:100] + rest


def test_a_model_that_has_nothing_to_add_adds_nothing() -> None:
    assert joined(WHOLE, [[chunk(WHOLE[-50:])], [chunk(None, "stop")]]) == WHOLE


def test_fewer_than_eight_characters_are_chance() -> None:
    assert joined("to be or not to be", [[chunk(" to be"), chunk(", he said", "stop")]]).endswith(
        "to be to be, he said"
    )


def test_what_is_not_text_passes() -> None:
    thought = {"choices": [{"index": 0, "delta": {"reasoning_content": "Hm."}, "finish_reason": None}]}
    usage: dict[str, Any] = {"choices": [], "usage": {"total_tokens": 3}}
    assert Continuation("abc").trim([thought, usage]) == [thought, usage]
    assert thought["choices"][0]["delta"] == {"reasoning_content": "Hm."}


def test_the_messages_of_a_model_that_takes_prefill() -> None:
    asked = [{"role": "user", "content": "Count."}]
    made = continued(asked, "one, two", prefill=True)
    assert made == [*asked, {"role": "assistant", "content": "one, two", "prefix": True}]
    assert asked == [{"role": "user", "content": "Count."}], "the call's own messages stay"


def test_the_messages_of_one_that_does_not() -> None:
    made = continued([{"role": "user", "content": "Count."}], "one, two", prefill=False)
    assert [message["role"] for message in made] == ["user", "assistant", "user"]
    assert made[1] == {"role": "assistant", "content": "one, two"} and "cut off" in made[2]["content"]
