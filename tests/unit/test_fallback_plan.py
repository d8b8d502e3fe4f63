from __future__ import annotations

import time
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from sentinella_plugins.fallback.chains import Chains
from sentinella_plugins.fallback.config import BreakerConfig, FallbackConfig
from sentinella_plugins.fallback.models import Needs, Preferences
from sentinella_plugins.fallback.needs import fits, needs_of
from sentinella_plugins.fallback.plan import Planner, order, pick
from sentinella_plugins.kernel.call import Call, Estimate
from sentinella_plugins.kernel.catalogue import ModelCard
from sentinella_plugins.kernel.money import FREE

CAPABILITIES = ("tools", "vision", "json_schema", "audio", "pdf")


def card(name: str, provider: str, price: float | None = 1.0, **more: object) -> ModelCard:
    fields: dict[str, object] = {
        "upstream": f"{provider}/{name}",
        "context_window": 100_000,
        "input_usd_per_million": price,
        "output_usd_per_million": price,
        "capabilities": ("tools", "vision", "json_schema"),
        **more,
    }
    return ModelCard(name=name, provider=provider, **fields)  # type: ignore[arg-type]


CARDS = (
    card("gpt", "openai", 4.0),
    card("gpt-mini", "openai", 0.4),
    card("opus", "anthropic", 8.0),
    card("sonnet", "anthropic", 4.0),
    card("gemini", "google", 3.5),
    card("flash", "google", 0.4, capabilities=("tools",)),
    card("deep", "deepseek", 2.0, context_window=1_000_000),
    card("old-gpt", "openai", 4.0, upstream="openai/gpt", deprecated=True, replaced_by="gpt"),
    card("old-sonnet", "anthropic", 4.0, upstream="anthropic/sonnet", deprecated=True, replaced_by="sonnet"),
    card("embed", "openai", 0.1, mode="embedding"),
    card("embed-2", "mistral", 0.1, mode="embedding"),
    card("pretended", "mistral", 4.0, demo=True),
)


def plan(
    model: str = "gpt",
    *,
    cards: tuple[ModelCard, ...] = CARDS,
    chains: Chains | None = None,
    automatic: bool = True,
    needs: Needs | None = None,
    preferences: Preferences | None = None,
    shut: Mapping[str, float] | None = None,
    allowed: set[str] | None = None,
) -> list[str]:
    planner = Planner(chains or Chains(), automatic=automatic)
    planner.know(cards)
    requested = planner.find(model)
    assert requested is not None
    route = planner.route(
        requested,
        model,
        needs or Needs(),
        preferences or Preferences(),
        lambda name: allowed is None or name in allowed,
    )
    return [found.name for found in order(route, (shut or {}).get)]


def call(body: Mapping[str, object], estimate: Estimate | None = None) -> Call:
    return Call(id="r", route="/", model="gpt", body=body, received_at=0, started=0, estimate=estimate)


def test_other_providers_by_nearness_of_price_then_the_same_one() -> None:
    assert plan() == ["gpt", "gemini", "sonnet", "deep", "opus", "flash", "gpt-mini"]


def test_nearest_price_tier_first_and_the_cheaper_of_two() -> None:
    cards = tuple(card(f"m{price}", f"p{price}", price) for price in (4.0, 8.0, 2.0, 3.9, 1.0, 64.0))
    assert plan("m4.0", cards=cards) == ["m4.0", "m3.9", "m2.0", "m8.0", "m1.0", "m64.0"]


def test_unknown_prices_come_last() -> None:
    cards = (card("a", "x"), card("b", "y", None), card("c", "z", 900.0))
    assert plan("a", cards=cards) == ["a", "c", "b"]
    assert plan("b", cards=cards) == ["b", "a", "c"]


def test_the_chain_comes_before_the_automatic_ones_in_its_own_order() -> None:
    chains = Chains(
        chains={"gpt": ("gpt-mini", "nowhere", "opus", "gpt")}, fallbacks={"gpt": ("deep", "opus")}
    )
    assert plan(chains=chains)[:4] == ["gpt", "gpt-mini", "opus", "deep"]
    assert plan(chains=chains, automatic=False) == ["gpt", "gpt-mini", "opus", "deep"]


def test_a_tenants_chain_is_the_strongest_and_a_star_stands_for_every_model() -> None:
    chains = Chains(chains={"*": ("opus",), "sonnet": ("deep",)})
    own = Preferences(chains={"gpt": ("flash",)})
    assert plan(chains=chains, preferences=own, automatic=False) == ["gpt", "flash", "opus"]
    assert plan("sonnet", chains=chains, automatic=False) == ["sonnet", "deep"]


def test_a_chain_is_checked_like_everything_else() -> None:
    chains = Chains(chains={"gpt": ("flash", "embed", "pretended", "sonnet")})
    needs = Needs(capabilities=frozenset({"vision"}))
    assert plan(chains=chains, needs=needs, automatic=False) == ["gpt", "sonnet"]
    assert plan(chains=chains, allowed={"gpt", "flash"}, automatic=False) == ["gpt", "flash"]


def test_for_a_retired_name_of_a_chain_what_replaced_it() -> None:
    chains = Chains(chains={"gpt": ("old-sonnet", "old-gpt")})
    assert plan(chains=chains, automatic=False) == ["gpt", "sonnet"]


def test_a_retired_name_is_never_an_alternative_nor_is_its_own_upstream() -> None:
    found = plan("old-gpt")
    assert found[0] == "old-gpt"
    assert "gpt" not in found and "old-sonnet" not in found


def test_the_demo_never_stands_in_for_a_real_model() -> None:
    assert "pretended" not in plan(chains=Chains(chains={"gpt": ("pretended",)}))
    assert plan("pretended") == ["pretended"]


def test_embeddings_have_no_automatic_alternatives_but_a_chain() -> None:
    assert plan("embed") == ["embed"]
    assert plan("embed", chains=Chains(chains={"embed": ("gpt", "embed-2")})) == ["embed", "embed-2"]


def test_open_breakers_come_last_the_soonest_first() -> None:
    found = plan(shut={"gpt": 30.0, "sonnet": 10.0})
    assert found[-2:] == ["sonnet", "gpt"] and found[0] == "gemini"
    everything = dict.fromkeys(plan(), 50.0) | {"opus": 3.0}
    assert plan(shut=everything)[0] == "opus"
    assert set(plan(shut=everything)) == set(plan())


def test_preferences_bind_the_alternatives() -> None:
    assert plan(preferences=Preferences(providers=("anthropic", "goo*"))) == [
        "gpt", "gemini", "sonnet", "flash", "opus"
    ]  # fmt: skip
    assert plan(preferences=Preferences(exclude=("google", "op?s"))) == ["gpt", "sonnet", "deep", "gpt-mini"]


def test_too_small_windows_and_answers_are_left_out() -> None:
    assert plan(needs=Needs(prompt_tokens=500_000)) == ["gpt", "deep"]
    small = card("small", "x", max_output_tokens=100)
    assert fits(small, Needs(output_tokens=100)) and not fits(small, Needs(output_tokens=101))
    assert fits(card("unknown", "x", context_window=None), Needs(prompt_tokens=10**9))


def test_aliases_lead_to_their_model_and_may_have_a_chain() -> None:
    chains = Chains.read(
        {"smart": ("opus",)},
        fallbacks=[{"gpt": ["deep"]}, {"sonnet": [{"model": "gemini"}]}],
        model_group_alias={"smart": {"model": "gpt", "hidden": True}, "fast": "flash", "broken": 3},
    )
    assert plan("smart", chains=chains, automatic=False) == ["gpt", "opus", "deep"]
    assert plan("fast", chains=chains, automatic=False) == ["flash"]
    assert plan("sonnet", chains=chains, automatic=False) == ["sonnet", "gemini"]


@pytest.mark.parametrize("given", [None, [], {}, 3, "gpt", [3, {"gpt": "opus"}, {"gpt": [None, {}]}]])
def test_chains_of_no_known_shape_are_left_out(given: object) -> None:
    chains = Chains.read({}, fallbacks=given, context_window_fallbacks=given, model_group_alias=given)
    assert chains.of("gpt") == [] and chains.of_long("gpt") == []


def test_a_longer_window_is_asked_of_known_sizes_only_except_in_a_chain_of_its_own() -> None:
    cards = (card("a", "x"), card("b", "y", context_window=None), card("c", "z", context_window=200_000))
    planner = Planner(Chains(context_window_fallbacks={"a": ("b",)}))
    planner.know(cards)
    route = planner.route(cards[0], "a", Needs(), Preferences(), lambda _: True)
    first = pick(route, {"a"}, "x", lambda _: None, 100_000)
    second = pick(route, {"a", "b"}, "y", lambda _: None, 100_000)
    assert (first and first.name, second and second.name) == ("b", "c")
    assert pick(route, {"a", "b"}, "y", lambda _: None, 200_000) is None


def test_needs_are_read_from_the_body() -> None:
    parts = [{"type": "text"}, {"type": "image_url"}, {"type": "input_audio"}, {"type": "file"}, 7]
    body = {
        "messages": [{"role": "user", "content": parts}, {"role": "user", "content": "hi"}, "odd"],
        "tools": [{}],
        "response_format": {"type": "json_schema"},
        "max_tokens": 50,
    }
    estimate = Estimate(prompt_tokens=9, completion_tokens=1, cost=FREE)
    needs = needs_of(call(body, estimate))
    assert needs == Needs(capabilities=frozenset(CAPABILITIES), prompt_tokens=9, output_tokens=50)
    assert needs_of(call({"messages": None, "max_tokens": "x"})) == Needs()
    assert needs_of(call({"response_format": {"type": "json_object"}, "functions": [1]})).capabilities == {
        "tools"
    }


Names = st.sampled_from([f"m{number}" for number in range(14)])
Tokens = st.sampled_from([None, 0, 1_000, 8_000, 128_000])
RandomCard = st.builds(
    ModelCard,
    name=Names,
    provider=st.sampled_from(["openai", "anthropic", "google", "mistral"]),
    upstream=st.sampled_from([f"u{number}" for number in range(12)]),
    mode=st.sampled_from(["chat", "chat", "chat", "responses", "embedding"]),
    context_window=Tokens,
    max_output_tokens=Tokens,
    input_usd_per_million=st.sampled_from([None, 0.0, 0.1, 1.0, 20.0]),
    output_usd_per_million=st.sampled_from([None, 0.0, 0.1, 1.0, 20.0]),
    capabilities=st.sets(st.sampled_from(CAPABILITIES)).map(lambda found: tuple(sorted(found))),
    deprecated=st.booleans(),
    replaced_by=st.none() | Names,
    demo=st.booleans(),
)
RandomNeeds = st.builds(
    Needs,
    capabilities=st.frozensets(st.sampled_from(CAPABILITIES), max_size=2),
    prompt_tokens=st.integers(0, 200_000),
    output_tokens=st.integers(0, 10_000),
)
RandomChain = st.dictionaries(Names | st.just("*"), st.lists(Names, max_size=4), max_size=5)


@settings(max_examples=400, deadline=None)
@given(data=st.data(), needs=RandomNeeds, chain=RandomChain, shut=st.dictionaries(Names, st.floats(1, 99)))
def test_the_constraints_hold_for_every_catalogue(
    data: st.DataObject, needs: Needs, chain: dict[str, list[str]], shut: dict[str, float]
) -> None:
    cards = tuple(data.draw(st.lists(RandomCard, min_size=1, max_size=14, unique_by=lambda one: one.name)))
    named = {one.name: one for one in cards}
    requested = data.draw(st.sampled_from(cards))
    allowed = data.draw(st.sets(st.sampled_from(sorted(named))))
    wishes = Preferences(providers=data.draw(st.sampled_from([(), ("openai", "google")])), exclude=("m1*",))
    chains = Chains(chains=chain)
    arguments = {"cards": cards, "needs": needs, "preferences": wishes, "shut": shut, "allowed": allowed}
    found = plan(requested.name, chains=chains, **arguments)  # type: ignore[arg-type]
    assert found == plan(requested.name, chains=chains, **arguments)  # type: ignore[arg-type]
    assert len(set(found)) == len(found) and requested.name in found
    for other in (named[name] for name in found if name != requested.name):
        assert fits(other, needs) and other.name in allowed and not other.deprecated
        assert not other.name.startswith("m1") and (
            not wishes.providers or other.provider in wishes.providers
        )
        assert requested.demo or not other.demo
        assert (other.mode == "embedding") == (requested.mode == "embedding")
    healthy = [name for name in found if name not in shut]
    assert found[: len(healthy)] == healthy
    if requested.name in healthy:
        assert healthy[0] == requested.name
    ailing = [shut[name] for name in found[len(healthy) :]]
    assert ailing == sorted(ailing)


@settings(max_examples=200, deadline=None)
@given(cards=st.lists(RandomCard, min_size=1, max_size=14, unique_by=lambda one: one.name))
def test_never_the_same_provider_twice_in_a_row_while_another_is_left(cards: list[ModelCard]) -> None:
    named = {one.name: one for one in cards}
    found = [named[name] for name in plan(cards[0].name, cards=tuple(cards))]
    for index in range(1, len(found)):
        if found[index].provider == found[index - 1].provider:
            assert {one.provider for one in found[index:]} == {found[index].provider}


def test_a_changed_catalogue_is_noticed() -> None:
    planner = Planner(Chains())
    planner.know(CARDS[:1])
    assert planner.find("sonnet") is None
    planner.know(CARDS)
    assert planner.find("sonnet") is CARDS[3]


def test_a_plan_is_made_in_no_time() -> None:
    providers = ("openai", "anthropic", "google", "xai", "mistral", "cohere", "groq", "deepseek")
    cards = tuple(card(f"m{number}", providers[number % 8], 0.1 + number % 11) for number in range(60))
    planner = Planner(Chains(chains={"m0": ("m5", "m9")}))
    planner.know(cards)
    needs, wishes = Needs(capabilities=frozenset({"tools"}), prompt_tokens=500), Preferences()

    def once() -> float:
        began = time.perf_counter()
        planner.know(tuple(cards))
        pick(planner.route(cards[0], "m0", needs, wishes, lambda _: True), {"m0"}, "openai", lambda _: None)
        return time.perf_counter() - began

    assert min(once() for _ in range(50)) < 0.003


def test_settings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValidationError, match="open_max_s"):
        BreakerConfig(open_s=10, open_max_s=5)
    with pytest.raises(ValidationError):
        FallbackConfig(chain={})  # type: ignore[call-arg]
    models = (FallbackConfig, BreakerConfig)
    assert all(
        field.description or name == "breaker"
        for model in models
        for name, field in model.model_fields.items()
    )
