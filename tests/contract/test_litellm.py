"""What Sentinella takes for granted about its host, private names too: an upgrade shows here what broke."""

from __future__ import annotations

import inspect
import pickle
from pathlib import Path
from typing import Any

import litellm
import pytest
import tiktoken.registry
import yaml
from litellm import Router
from litellm.litellm_core_utils.rules import Rules
from litellm.proxy import proxy_server
from litellm.proxy._types import LitellmUserRoles, UserAPIKeyAuth
from litellm.proxy.litellm_pre_call_utils import LiteLLMProxyRequestSetup
from litellm.proxy.types_utils.utils import get_instance_fn
from litellm.proxy.utils import ProxyLogging

from sentinella_plugins.demo import Demo, running_demo
from sentinella_plugins.gateway import deployments, honest_streams, host
from sentinella_plugins.gateway.catalogue import LiteLLMCatalogue
from sentinella_plugins.kernel.call import Usage
from sentinella_plugins.kernel.money import nano

# LiteLLM warns a lot inside itself (pydantic, unclosed directories); this module looks at its behaviour only.
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("litellm_rubbish")]
ROOT = Path(__file__).parents[2]
SHIPPED: list[dict[str, Any]] = yaml.safe_load((ROOT / "proxy_config.yaml").read_text())["model_list"]


@pytest.fixture(scope="module")
def demo() -> Any:
    with running_demo() as running:
        yield running


@pytest.fixture(scope="module")
def router(demo: Demo) -> Router:
    unset = [{**model, "litellm_params": {**model["litellm_params"], "api_key": None}} for model in SHIPPED]
    return Router(model_list=deployments.prepare(unset, {}, demo.url))


@pytest.fixture(scope="module")
def catalogue(router: Router) -> LiteLLMCatalogue:
    filled = LiteLLMCatalogue()
    filled.fill([dict(model) for model in router.get_model_list() or []])
    return filled


def test_the_version_is_the_one_that_was_tried() -> None:
    assert litellm.__file__
    from importlib.metadata import version

    assert version("litellm") == "1.106.2"


def test_middleware_can_be_put_in_front_of_a_running_application() -> None:
    class Door:
        def __init__(self, app: Any, mark: str) -> None:
            self.app, self.mark = app, mark

    app = proxy_server.app
    before, stack = list(app.user_middleware), app.middleware_stack
    try:
        host.insert_door(Door, mark="ours")
        outermost = app.build_middleware_stack()
        while not isinstance(outermost, Door):  # Starlette's own error middleware stands before ours
            outermost = outermost.app
        assert outermost.mark == "ours"
    finally:
        app.user_middleware[:] = before
        app.middleware_stack = stack


def test_the_proxys_globals_that_we_read_exist() -> None:
    assert host.llm_router() is None
    assert host.configured_models() == []
    assert isinstance(host.proxy_logging(), ProxyLogging)
    assert host.proxy_config_file() is None
    assert host.foreign_callbacks(own=object()) is False


@pytest.mark.parametrize(
    ("method", "names"),
    [
        ("pre_call_hook", {"user_api_key_dict", "data", "call_type"}),
        ("during_call_hook", {"data", "user_api_key_dict", "call_type"}),
        ("post_call_success_hook", {"data", "response", "user_api_key_dict"}),
        ("post_call_failure_hook", {"request_data", "original_exception", "user_api_key_dict"}),
        ("async_post_call_streaming_iterator_hook", {"user_api_key_dict", "response", "request_data"}),
        ("async_post_call_streaming_hook", {"data", "response", "user_api_key_dict", "str_so_far"}),
        ("needs_iterator_wrap", set()),
        ("needs_per_chunk_streaming_hook", set()),
    ],
)
def test_the_hooks_of_other_peoples_callbacks_take_what_we_give(method: str, names: set[str]) -> None:
    assert names <= set(inspect.signature(getattr(ProxyLogging, method)).parameters)


def test_a_name_in_the_yaml_is_resolved_by_import_and_not_by_running_a_file_anew() -> None:
    """LiteLLM runs `<config dir>/a/b.py` for a name `a.b.obj`, outside `sys.modules`, at each mention."""
    first = get_instance_fn(
        "sentinella_plugins.kernel.errors", config_file_path=str(ROOT / "proxy_config.yaml")
    )
    second = get_instance_fn(
        "sentinella_plugins.kernel.errors", config_file_path=str(ROOT / "proxy_config.yaml")
    )
    assert first is second
    assert not (ROOT / "sentinella_plugins" / "gateway.py").exists()


def test_the_metadata_of_a_key_is_made_as_the_proxy_makes_it() -> None:
    user = UserAPIKeyAuth(
        api_key="hash", key_alias="ci", team_id="acme", user_role=LitellmUserRoles.INTERNAL_USER
    )
    data: dict[str, Any] = {"metadata": {}}
    made = LiteLLMProxyRequestSetup.add_user_api_key_auth_to_request_metadata(data, user, "metadata")[
        "metadata"
    ]
    assert made["user_api_key_alias"] == "ci"
    assert made["user_api_key_team_id"] == "acme"
    assert made["user_api_key_hash"] == made["user_api_key"] == "hash"


def test_function_setup_gives_a_logging_object() -> None:
    message = {"role": "user", "content": "hi"}
    logging_obj, data = litellm.utils.function_setup(
        original_function="acompletion",
        rules_obj=Rules(),
        start_time=proxy_server.datetime.now(),
        model="gpt-4o",
        messages=[message],
        litellm_call_id="req_1",
    )
    assert logging_obj.litellm_call_id == "req_1"
    assert data["messages"] == [message]


@pytest.mark.asyncio
async def test_an_answer_tells_its_cost_and_its_deployment(
    router: Router, catalogue: LiteLLMCatalogue
) -> None:
    question = [{"role": "user", "content": "hi"}]
    for name in (
        "gpt-4o-mini",
        "claude-haiku-5-5",
        "gemini-2.5-flash",
        "command-r7b-12-2024",
        "llama-3.1-8b",
    ):
        response = await router.acompletion(model=name, messages=question)
        assert catalogue.answered_by(response, "something else")[0] == name
        usage = Usage(prompt=response.usage.prompt_tokens, completion=response.usage.completion_tokens)
        cost = host.completed_cost(response)
        assert cost
        assert nano(cost) == catalogue.cost(name, usage)


@pytest.mark.asyncio
async def test_a_stream_ends_with_its_usage(router: Router) -> None:
    for name in (
        "gpt-4o-mini",
        "claude-haiku-5-5",
        "gemini-2.5-flash",
        "command-r7b-12-2024",
        "mistral-small",
    ):
        stream = await router.acompletion(
            model=name,
            messages=[{"role": "user", "content": "hi"}],
            stream=True,
            stream_options={"include_usage": True},
        )
        usages = [chunk.usage async for chunk in stream if getattr(chunk, "usage", None) is not None]
        assert usages, name
        assert usages[-1].completion_tokens > 0
        assert stream._hidden_params["model_id"]


@pytest.mark.asyncio
async def test_a_provider_that_told_why_it_ended_can_be_told_from_one_that_did_not(router: Router) -> None:
    honest_streams.install()
    for name in ("gpt-4o-mini", "claude-haiku-5-5", "gemini-2.5-flash", "command-r7b-12-2024", "gpt-oss-20b"):
        stream = await router.acompletion(
            model=name, messages=[{"role": "user", "content": "hi"}], stream=True, max_tokens=5
        )
        provider = honest_streams.ProviderStream(stream)
        assert not provider.told_its_end
        async for _ in stream:
            pass
        assert provider.told_its_end, name


def test_every_shipped_model_has_a_price_and_a_size(catalogue: LiteLLMCatalogue) -> None:
    assert len(catalogue.cards()) == len({model["model_name"] for model in SHIPPED})
    for card in catalogue.cards():
        assert card.demo
        assert card.context_window, card.name
        assert card.input_usd_per_million is not None, card.name
        assert catalogue.cost(card.name, Usage(prompt=1_000, completion=1_000)) > 0, card.name


def test_what_stands_in_for_a_retired_model_is_in_the_catalogue_itself(catalogue: LiteLLMCatalogue) -> None:
    retired = [card for card in catalogue.cards() if card.deprecated]
    assert len(retired) >= 15
    for card in retired:
        assert card.replaced_by is not None
        current = catalogue.find(card.replaced_by)
        assert current is not None, card.name
        assert not current.deprecated
        assert current.upstream == card.upstream


def test_tokens_are_counted_without_tiktokens_second_tables() -> None:
    texts = ("How many tokens are in it?", "Größe: 東京 👩‍👩‍👧‍👦", "    def f(x):\n        return x\n")
    models = ("gpt-4o", "gpt-4")
    before = [litellm.token_counter(model=model, text=text) for model in models for text in texts]
    known = tiktoken.registry.ENCODINGS
    assert {"cl100k_base", "o200k_base"} <= known.keys()
    assert all(isinstance(encoding._mergeable_ranks, dict) for encoding in known.values())
    host.forget_token_tables()
    assert [litellm.token_counter(model=model, text=text) for model in models for text in texts] == before
    for encoding in known.values():
        copied = pickle.loads(pickle.dumps(encoding))  # noqa: S301
        assert copied.encode(texts[1]) == encoding.encode(texts[1])
        assert encoding.decode(encoding.encode(texts[1])) == texts[1]
        assert encoding.decode_single_token_bytes(encoding.encode_single_token(b"how")) == b"how"
