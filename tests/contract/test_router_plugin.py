"""The router inside LiteLLM's own Router: as a routing plugin and as a classifier."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
from litellm import Router
from litellm.proxy.proxy_server import resolve_classifier_plugin, resolve_routing_plugins
from litellm.types.router import RoutingContext

from sentinella_plugins.demo import Demo, running_demo
from sentinella_plugins.gateway.catalogue import LiteLLMCatalogue
from sentinella_plugins.gateway.router_plugin import SentinellaClassifier, SentinellaRouting
from sentinella_plugins.router.config import RouterConfig
from sentinella_plugins.router.service import RouterService

# LiteLLM warns a lot inside itself (pydantic, unclosed directories); this module looks at its behaviour only.
pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.usefixtures("litellm_rubbish"),
    pytest.mark.asyncio,
]
SMALL, LARGE = "openai/gpt-4o-mini", "openai/gpt-4.1"
EASY = "Say hello."
HARD = (
    "Prove step by step that the algorithm below terminates, analyse its complexity and explain the "
    "trade-offs of its design:\n```python\n"
    + "def f(n):\n    return 1 if n < 2 else f(n - 1) + f(n - 2)\n" * 20
    + "```"
)


@pytest.fixture(scope="module")
def demo() -> Any:
    with running_demo() as running:
        yield running


def deployments(demo: Demo, *pairs: tuple[str, str]) -> list[dict[str, Any]]:
    params = {"api_base": demo.base("openai"), "api_key": "demo"}
    return [{"model_name": name, "litellm_params": {"model": model, **params}} for name, model in pairs]


def parts(objective: Any, *pairs: tuple[str, str]) -> Callable[[], tuple[RouterService, LiteLLMCatalogue]]:
    catalogue = LiteLLMCatalogue()
    catalogue.fill([{"model_name": name, "litellm_params": {"model": model}} for name, model in pairs])
    service = RouterService(catalogue, RouterConfig(objective=objective))
    return lambda: (service, catalogue)


NAMES = (("gpt-4o-mini", SMALL), ("gpt-4.1", LARGE))


def context(*models: str, text: str = EASY) -> RoutingContext:
    messages = [{"role": "user", "content": text}]
    return RoutingContext(raw_messages=messages, structured_messages=messages, candidate_models=list(models))


@pytest.mark.parametrize(("objective", "expected"), [("cheapest", SMALL), ("best", LARGE)])
async def test_the_router_takes_the_deployment_that_is_chosen(
    demo: Demo, objective: str, expected: str
) -> None:
    plugin = SentinellaRouting(parts(objective, *NAMES))
    router = Router(
        model_list=deployments(demo, ("smart", SMALL), ("smart", LARGE)), plugins=[plugin], num_retries=0
    )
    for _ in range(5):
        answer = await router.acompletion(model="smart", messages=[{"role": "user", "content": EASY}])
        assert answer._hidden_params["litellm_model_name"] == expected


async def test_what_the_catalogue_does_not_know_is_left_alone() -> None:
    plugin = SentinellaRouting(parts("cheapest", *NAMES))
    for models in ((SMALL,), ("x/one", "x/two"), (SMALL, "x/one")):
        assert (await plugin.run(context(*models))).candidate_models == list(models)


async def test_the_choice_is_told_to_later_plugins() -> None:
    plugin = SentinellaRouting(parts("best", *NAMES))
    told: Any = (await plugin.run(context(SMALL, LARGE))).signals["sentinella"]
    assert told["model"] == "gpt-4.1" and told["reason"] == "best" and told["task"] == "general"


async def test_nothing_that_fits_leaves_the_choice_to_litellm() -> None:
    find = parts("best", *NAMES)
    huge = context(SMALL, LARGE, text="word " * 3_000_000)
    left = await SentinellaRouting(find).run(huge)
    assert left.candidate_models == [SMALL, LARGE]
    assert left.signals["sentinella"] == {"error": "no_model_fits"}


async def test_a_harder_prompt_gets_a_higher_tier() -> None:
    classifier = SentinellaClassifier(parts("best", *NAMES))
    assert await classifier.classify(context(text=EASY)) == "SIMPLE"
    assert await classifier.classify(context(text=HARD)) in ("COMPLEX", "REASONING")


async def test_the_complexity_router_asks_the_classifier(demo: Demo) -> None:
    classifier = SentinellaClassifier(parts("best", *NAMES))
    tiers = {"SIMPLE": "small", "MEDIUM": "small", "COMPLEX": "large", "REASONING": "large"}
    auto = {
        "model_name": "auto-router",
        "litellm_params": {
            "model": "auto_router/complexity_router",
            "complexity_router_config": {
                "classifier_type": "custom",
                "classifier_plugin": classifier,
                "tiers": tiers,
            },
            "complexity_router_default_model": "small",
        },
    }
    router = Router(model_list=[*deployments(demo, ("small", SMALL), ("large", LARGE)), auto], num_retries=0)
    for text, expected in ((EASY, SMALL), (HARD, LARGE)):
        answer = await router.acompletion(model="auto-router", messages=[{"role": "user", "content": text}])
        assert answer._hidden_params["litellm_model_name"] == expected


async def test_the_proxy_accepts_both_from_its_yaml(monkeypatch: pytest.MonkeyPatch) -> None:
    find = parts("best", *NAMES)
    routing, classifier = SentinellaRouting(find), SentinellaClassifier(find)
    assert resolve_routing_plugins([routing], None, "plugins") == [routing]
    monkeypatch.setattr(sys.modules[__name__], "ours", classifier, raising=False)
    assert resolve_classifier_plugin(f"{__name__}.ours", None, "classifier_plugin") is classifier
