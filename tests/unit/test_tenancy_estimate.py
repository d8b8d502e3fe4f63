from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinella_plugins.kernel.catalogue import ModelCard
from sentinella_plugins.tenancy.estimate import LARGEST, TypicalLength, completion_tokens, dearest

CARD = ModelCard(name="m", provider="p", upstream="m", max_output_tokens=4_096)
EMBEDDER = ModelCard(name="e", provider="p", upstream="e", mode="embedding")

json_values = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.lists(st.integers())
)


def typical(models: int = 10) -> TypicalLength:
    return TypicalLength(default=512, quantile=0.9, models=models)


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        ({}, 512),
        ({"max_tokens": 100}, 100),
        ({"max_output_tokens": 100}, 100),
        ({"max_completion_tokens": 50, "max_tokens": 100}, 50),
        ({"max_tokens": 100, "n": 3}, 300),
        ({"n": 2}, 1_024),
        ({"max_tokens": 10**15}, 4_096),
        ({"max_tokens": None, "n": None}, 512),
        ({"max_tokens": "100", "n": True}, 512),
        ({"max_tokens": -5}, 512),
    ],
)
def test_what_the_body_allows(body: dict[str, object], tokens: int) -> None:
    assert completion_tokens(body, CARD, 512) == tokens


def test_an_embedding_writes_nothing() -> None:
    assert completion_tokens({"max_tokens": 100}, EMBEDDER, 512) == 0


@given(
    st.dictionaries(
        st.sampled_from(["max_tokens", "max_completion_tokens", "max_output_tokens", "n"]), json_values
    )
)
def test_any_body_gives_a_count_that_stores_can_hold(body: dict[str, object]) -> None:
    assert 0 < completion_tokens(body, None, 512) <= LARGEST
    assert 0 < completion_tokens(body, CARD, 512) <= 4_096 * 128


def test_the_mark_covers_its_share_of_the_answers() -> None:
    draw, learned, covered = random.Random(7), typical(), 0
    for number in range(6_000):
        length = round(draw.lognormvariate(5, 0.7))
        covered += number >= 1_000 and length <= learned.of("m")
        learned.learn("m", length)
    assert 0.88 < covered / 5_000 < 0.92


def test_old_answers_fade() -> None:
    learned = typical()
    for length in [4_000] * 200 + [20] * 600:
        learned.learn("m", length)
    assert learned.of("m") < 40


def test_it_is_bounded() -> None:
    learned = typical(models=2)
    for model in ("a", "b", "a", "c"):
        learned.learn(model, 100_000)
    assert learned.of("b") == learned.of("never") == 512
    assert learned.of("a") > 512 < learned.of("c")


@given(st.lists(st.integers(-5, 10**9), max_size=200))
def test_it_never_leaves_what_was_seen_by_more_than_a_step(lengths: list[int]) -> None:
    learned = typical()
    for length in lengths:
        learned.learn("m", length)
    assert 1 <= learned.of("m") <= max([512, *lengths]) * 1.2 + 1


def test_the_dearest() -> None:
    cheap = ModelCard(name="c", provider="p", upstream="c", output_usd_per_million=1.0)
    dear = ModelCard(name="d", provider="p", upstream="d", output_usd_per_million=60.0)
    assert dearest([cheap, dear, CARD]) is dear
    assert dearest([]) is None
