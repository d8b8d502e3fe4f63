"""Where Sentinella touches LiteLLM's proxy. Every private name of it is here, and a contract test covers
each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import litellm
import tiktoken.registry
from fastapi import Request
from litellm.proxy import proxy_server
from litellm.proxy._types import UserAPIKeyAuth
from litellm.proxy.litellm_pre_call_utils import add_litellm_data_to_request
from litellm.proxy.utils import ProxyLogging
from litellm.router import Router
from starlette.middleware import Middleware

from sentinella_plugins.kernel.errors import Unavailable

_INTERNAL = (
    "litellm.proxy.hooks",
    "litellm.proxy.proxy_server",
    "litellm._service_logger",
    "litellm.router",
    "litellm.proxy.utils",
)
_CACHES = "cache"
"""Every `Cache` that LiteLLM makes enters this name, its calls to Gemini too; nothing listens to it."""


def insert_door(door: Any, **options: Any) -> None:
    """Puts an ASGI class in front of LiteLLM's application, also after that has started."""
    app = proxy_server.app
    app.user_middleware.insert(0, Middleware(door, **options))
    app.middleware_stack = None


def llm_router() -> Router | None:
    return proxy_server.llm_router


async def embed(model: str, texts: Sequence[str]) -> Sequence[Sequence[float]]:
    """Vectors of texts by an embedding model of the `model_list`."""
    if proxy_server.llm_router is None:
        raise Unavailable("The gateway has no models yet.")
    answer = await proxy_server.llm_router.aembedding(model=model, input=list(texts))
    return [row["embedding"] for row in answer.data]


def configured_models() -> list[dict[str, Any]]:
    """`model_list` of the YAML with `os.environ/` references resolved; a missing variable is `None`."""
    models: Any = proxy_server.proxy_config.get_config_state().get("model_list") or []
    return [dict(model) for model in models]


def configured_fallbacks() -> tuple[dict[str, str], dict[str, Any]]:
    """`model_group_alias` of the YAML (the plain ones), and what of it says who stands in for whom."""
    state: Mapping[str, Any] = proxy_server.proxy_config.get_config_state()
    settings = {**(state.get("litellm_settings") or {}), **(state.get("router_settings") or {})}
    names = ("fallbacks", "context_window_fallbacks", "model_group_alias")
    given = settings.get("model_group_alias") or {}
    aliases = {
        str(alias): str(target["model"] if isinstance(target, Mapping) else target)
        for alias, target in given.items()
    }
    return aliases, {name: settings.get(name) for name in names}


def proxy_logging() -> ProxyLogging:
    return proxy_server.proxy_logging_obj


def proxy_config_file() -> str | None:
    return proxy_server.user_config_file_path


def forget_token_tables() -> None:
    """tiktoken has the tables of an encoding twice: in Rust, to count with, and in Python, to copy encodings
    that have no name. LiteLLM's two have one, and the second copy of theirs takes 40 MiB."""
    for encoding in tiktoken.registry.ENCODINGS.values():
        encoding._mergeable_ranks = {}


def foreign_callbacks(own: object) -> bool:
    """Whether the YAML registers callbacks or guardrails that want to see chat calls, other than ours."""
    return any(_is_foreign(callback, own) for callback in litellm.callbacks)


def listeners(own: object) -> bool:
    """Whether anybody but us hears of LiteLLM's calls: a callback of any kind, or its own database."""
    lists = (
        litellm.callbacks,
        litellm.success_callback,
        litellm.failure_callback,
        litellm.input_callback,
        litellm._async_success_callback,
        litellm._async_failure_callback,
        litellm._async_input_callback,
    )
    return proxy_server.prisma_client is not None or any(
        _is_foreign(callback, own) for callbacks in lists for callback in callbacks
    )


def _is_foreign(callback: object, own: object) -> bool:
    """LiteLLM registers objects, bound methods and functions of its own beside those of the YAML."""
    owner = getattr(callback, "__self__", callback)
    if owner is own or owner == _CACHES:
        return False
    module = getattr(owner, "__module__", None) or type(owner).__module__
    return isinstance(owner, str) or not module.startswith(_INTERNAL)


def completed_cost(response: object) -> float | None:
    """What LiteLLM computed for a finished call, in dollars; `None` when it knows no price."""
    hidden: Mapping[str, Any] = getattr(response, "_hidden_params", None) or {}
    return hidden.get("response_cost")


async def with_proxy_metadata(
    data: dict[str, Any], route: str, headers: Mapping[str, str], user: UserAPIKeyAuth, received_at: float
) -> dict[str, Any]:
    """The request as LiteLLM's own endpoint would hand it to callbacks: metadata of key, headers and time."""
    began = datetime.now(UTC)
    scope = {
        "type": "http",
        "method": "POST",
        "scheme": "http",
        "server": ("sentinella", 80),
        "path": route,
        "query_string": b"",
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()],
        "client": None,
        "state": {"litellm_received_at": datetime.fromtimestamp(received_at, UTC)},
    }
    made: dict[str, Any] = await add_litellm_data_to_request(
        data=data,
        request=Request(scope),
        user_api_key_dict=user,
        proxy_config=proxy_server.proxy_config,
        general_settings=proxy_server.general_settings,
        version=proxy_server.version,  # type: ignore[attr-defined]
    )
    made["metadata"]["queue_time_seconds"] = max(0.0, began.timestamp() - received_at)
    return made
