"""Whatever the catalogue, what is chosen keeps to every bound."""

from __future__ import annotations

import asyncio
import math
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinella_plugins.kernel.access import matches
from sentinella_plugins.kernel.catalogue import ModelCard
from sentinella_plugins.kernel.errors import ModelForbidden
from sentinella_plugins.router.config import PRESETS, ExplorationConfig, RouterConfig, Weights
from sentinella_plugins.router.decision import Bounds, Slate, Verdict, decide
from sentinella_plugins.router.exploration import chance, explored
from sentinella_plugins.router.models import NoModelFits, Policy
from sentinella_plugins.router.service import RouterService
from sentinella_plugins.router.weighing import Decided
from tests.unit.router.parts import Shelf, call

SHARES = st.floats(0, 1)
BOUND = st.none() | st.floats(0, 2)


def slate(
    quality: list[float], cost: list[float], latency: list[float] | None = None, **others: Any
) -> Slate:
    size = len(quality)
    columns: dict[str, Any] = {
        "barred": [None] * size,
        "spread": np.full(size, 0.1),
        "latency_ms": np.array(latency or [0.0] * size),
        "room": np.full(size, np.inf),
        "deprecated": np.zeros(size, dtype=bool),
        "broken": np.zeros(size, dtype=bool),
        "order": np.arange(size),
    }
    return Slate(quality=np.array(quality), cost_usd=np.array(cost), **{**columns, **others})


@st.composite
def slates(draw: st.DrawFn) -> Slate:
    size = draw(st.integers(1, 12))

    def column(values: st.SearchStrategy[Any]) -> list[Any]:
        return draw(st.lists(values, min_size=size, max_size=size))

    return slate(
        column(SHARES),
        column(st.floats(0, 2) | st.just(math.nan)),
        column(st.floats(0, 2_000)),
        barred=column(st.sampled_from([None, None, "not_allowed"])),
        room=np.array(column(st.floats(-10, 10)), dtype=float),
        deprecated=np.array(column(st.booleans())),
        broken=np.array(column(st.booleans())),
        order=np.array(draw(st.permutations(range(size)))),
    )


@given(slates(), BOUND, BOUND, BOUND, BOUND, st.sampled_from(list(PRESETS.values())))
def test_what_fits_keeps_to_every_bound(
    given_slate: Slate, cost: Any, latency: Any, quality: Any, budget: Any, weights: Weights
) -> None:
    latency = None if latency is None else latency * 1_000
    bounds = Bounds(max_cost_usd=cost, max_latency_ms=latency, min_quality=quality, budget_usd=budget)
    verdict = decide(given_slate, bounds, weights)
    for index in verdict.ranking:
        assert given_slate.barred[index] is None and given_slate.room[index] >= 0
        assert cost is None or given_slate.cost_usd[index] <= cost
        assert latency is None or given_slate.latency_ms[index] <= latency
        assert quality is None or given_slate.quality[index] >= quality
    assert {index for index, code in enumerate(verdict.excluded) if code is None} == set(verdict.ranking)
    utilities = [verdict.utility[index] for index in verdict.ranking]
    assert utilities == sorted(utilities, reverse=True)
    _soft_bounds_give_way_only_when_they_must(given_slate, verdict)


def _soft_bounds_give_way_only_when_they_must(given_slate: Slate, verdict: Verdict) -> None:
    for mask, code in ((given_slate.broken, "breaker_open"), (given_slate.deprecated, "deprecated")):
        kinds = {bool(mask[index]) for index in verdict.ranking}
        assert len(kinds) <= 1, f"both kinds are left of {code}"
        if code in verdict.excluded:
            assert kinds == {False}


@given(slates(), st.randoms())
def test_the_order_of_the_catalogue_does_not_matter(given_slate: Slate, random: Any) -> None:
    size = len(given_slate.quality)
    places = list(range(size))
    random.shuffle(places)
    arrays = (field.name for field in fields(Slate) if field.name != "barred")
    shuffled = Slate(
        barred=[given_slate.barred[index] for index in places],
        **{name: getattr(given_slate, name)[places] for name in arrays},
    )
    one = decide(given_slate, Bounds(), Weights()).ranking
    other = decide(shuffled, Bounds(), Weights()).ranking
    assert list(one) == [places[index] for index in other]


@pytest.mark.parametrize(
    ("objective", "expected"), [("cheapest", 0), ("balanced", 1), ("best", 2), ("fastest", 3)]
)
def test_objectives_weigh_differently(objective: Any, expected: int) -> None:
    models = slate([0.5, 0.8, 0.9, 0.4], [0.0001, 0.002, 0.05, 0.001], [3_000, 2_000, 4_000, 100])
    assert decide(models, Bounds(), PRESETS[objective]).ranking[0] == expected


def test_ties_go_to_the_cheaper_then_to_the_name() -> None:
    models = slate([0.5, 0.5, 0.5], [0.2, 0.1, 0.1], order=np.array([0, 2, 1]))
    assert decide(models, Bounds(), Weights(cost=0, latency=0)).ranking == (2, 1, 0)


def test_an_unknown_price_counts_like_the_dearest() -> None:
    models = slate([0.5, 0.5, 0.5], [0.01, math.nan, 0.02])
    verdict = decide(models, Bounds(max_cost_usd=1), Weights())
    assert verdict.excluded == (None, "price_unknown", None)
    assert decide(models, Bounds(), Weights()).utility[1] == decide(models, Bounds(), Weights()).utility[2]


def test_an_ailing_model_is_asked_when_nothing_else_is_left() -> None:
    healthy_first = slate([0.9, 0.1], [0.0, 0.0], broken=np.array([True, False]))
    assert decide(healthy_first, Bounds(), Weights()).ranking == (1,)
    both = slate([0.9, 0.1], [0.0, 0.0], broken=np.array([True, True]))
    assert decide(both, Bounds(), Weights()).ranking == (0, 1)


def test_what_the_tenant_cannot_pay_is_asked_only_when_nothing_else_is_left() -> None:
    models = slate([0.9, 0.5], [0.5, 0.001])
    assert decide(models, Bounds(budget_usd=0.01), PRESETS["best"]).excluded == ("over_budget", None)
    assert len(decide(models, Bounds(budget_usd=0.0), PRESETS["best"]).ranking) == 2


@pytest.mark.parametrize("mode", ["epsilon", "ucb", "thompson"])
@given(models=slates(), number=st.integers(0, 10_000))
def test_exploration_stays_within_its_bounds(mode: Any, models: Slate, number: int) -> None:
    config = ExplorationConfig(mode=mode, share=1.0, max_quality_loss=0.2, max_cost_factor=1.5)
    verdict = decide(models, Bounds(max_cost_usd=1.0), Weights())
    tried = explored(config, f"req_{number}", models, verdict, Weights())
    assert tried == explored(config, f"req_{number}", models, verdict, Weights())
    if tried is not None:
        best = verdict.ranking[0]
        assert tried in verdict.ranking and tried != best
        assert models.quality[tried] >= models.quality[best] - 0.2
        assert models.cost_usd[tried] <= models.cost_usd[best] * 1.5


def test_exploration_is_a_share_of_calls_and_off_by_default() -> None:
    models = slate([0.5, 0.5], [0.1, 0.1])
    verdict = decide(models, Bounds(), Weights())
    assert explored(ExplorationConfig(), "req", models, verdict, Weights()) is None
    config = ExplorationConfig(mode="epsilon", share=0.2)
    tried = [explored(config, f"req_{n}", models, verdict, Weights()) for n in range(2_000)]
    # Half of the fifth: the other half picks the best.
    assert 0.07 < sum(one is not None for one in tried) / 2_000 < 0.13


def test_chances_are_even() -> None:
    drawn = [chance("x", str(number)) for number in range(2_000)]
    assert 0.47 < sum(drawn) / 2_000 < 0.53 and min(drawn) >= 0 and max(drawn) < 1


CARD = st.builds(
    ModelCard,
    name=st.text("abc", min_size=1, max_size=4),
    provider=st.sampled_from(["openai", "anthropic", "google"]),
    upstream=st.just("u"),
    mode=st.sampled_from(["chat", "chat", "embedding"]),
    context_window=st.none() | st.integers(10, 5_000),
    max_output_tokens=st.none() | st.integers(1, 3_000),
    input_usd_per_million=st.none() | st.floats(0, 100),
    output_usd_per_million=st.none() | st.floats(0, 100),
    capabilities=st.sets(st.sampled_from(["tools", "vision", "json_schema"])).map(tuple),
    deprecated=st.booleans(),
    demo=st.booleans(),
)
CATALOGUE = st.lists(CARD, max_size=12, unique_by=lambda card: card.name)
ROUTING = st.fixed_dictionaries(
    {},
    optional={
        "max_cost_usd": st.floats(0, 0.01),
        "max_latency_ms": st.floats(0, 20_000),
        "min_quality": SHARES,
        "providers": st.lists(st.sampled_from(["openai", "goo*"]), max_size=2),
        "exclude": st.lists(st.sampled_from(["anthropic", "a*", "b"]), max_size=2),
        "objective": st.sampled_from(list(PRESETS)),
    },
)


@given(
    cards=CATALOGUE,
    routing=ROUTING,
    allowed=st.sets(st.sampled_from(["a*", "b*", "c*"])),
    image=st.booleans(),
    tools=st.booleans(),
    most=st.none() | st.integers(1, 4_000),
    length=st.integers(0, 6_000),
)
def test_constraints_hold_for_every_catalogue(
    cards: list[ModelCard], routing: Any, allowed: set[str], image: bool, tools: bool, most: Any, length: int
) -> None:
    policy = Policy(allowed=lambda name: matches(allowed, name), exclude=("google",))
    parts: list[dict[str, Any]] = [{"type": "text", "text": "x" * length}]
    if image:
        parts.append({"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 50_000}})
    body: dict[str, Any] = {"messages": [{"role": "user", "content": parts}]}
    body |= {"tools": [{"type": "function"}]} if tools else {}
    body |= {"max_tokens": most} if most else {}
    asked = call(routing=routing, **body)
    service = RouterService(Shelf(cards), RouterConfig())
    usable = [card for card in cards if card.mode == "chat" and matches(allowed, card.name)]
    try:
        chosen = asyncio.run(service.choose(asked, policy))
    except ModelForbidden:
        assert not usable
        return
    except NoModelFits as error:
        assert usable and set(error.excluded) == {card.name for card in usable}
        return
    found = next(card for card in usable if card.name == chosen.model)
    assert set(["vision"] * image + ["tools"] * tools) <= set(found.capabilities)
    assert found.provider != "google" and not matches(routing.get("exclude", ()), found.name)
    assert found.provider not in routing.get("exclude", ())
    assert matches(routing.get("providers") or None, found.provider)
    assert not found.demo or all(card.demo for card in usable)
    assert (found.max_output_tokens or math.inf) >= (most or 0)
    decided = chosen.note(Decided)
    assert decided is not None and decided.weighed is not None
    index = decided.weighed.lineup.names.index(chosen.model)
    assert decided.request.prompt_tokens + (most or 0) <= (found.context_window or math.inf)
    slate = decided.weighed.slate
    assert not slate.cost_usd[index] > routing.get("max_cost_usd", math.inf)
    assert not slate.latency_ms[index] > routing.get("max_latency_ms", math.inf)
    assert not slate.quality[index] < routing.get("min_quality", 0)
