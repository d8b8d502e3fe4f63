"""Where Sentinella touches LiteLLM's proxy. Every private name of it is here, and a contract test covers
each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import litellm
from litellm.proxy import proxy_server
from litellm.proxy.utils import ProxyLogging
from litellm.router import Router
from starlette.middleware import Middleware


def insert_door(door: Any, **options: Any) -> None:
    """Puts an ASGI class in front of LiteLLM's application, also after that has started."""
    app = proxy_server.app
    app.user_middleware.insert(0, Middleware(door, **options))
    app.middleware_stack = None


def llm_router() -> Router | None:
    return proxy_server.llm_router


def configured_models() -> list[dict[str, Any]]:
    """`model_list` of the YAML with `os.environ/` references resolved; a missing variable is `None`."""
    models: Any = proxy_server.proxy_config.get_config_state().get("model_list") or []
    return [dict(model) for model in models]


def proxy_logging() -> ProxyLogging:
    return proxy_server.proxy_logging_obj


def proxy_config_file() -> str | None:
    return proxy_server.user_config_file_path


def foreign_callbacks(own: object) -> bool:
    """Whether the YAML registers callbacks or guardrails that want to see chat calls, other than Sentinella's
    own."""
    return any(
        callback is not own and not type(callback).__module__.startswith("litellm.proxy.hooks")
        for callback in litellm.callbacks
        if not isinstance(callback, str)
    ) or any(isinstance(callback, str) for callback in litellm.callbacks)


def completed_cost(response: object) -> float | None:
    """What LiteLLM computed for a finished call, in dollars; `None` when it knows no price."""
    hidden: Mapping[str, Any] = getattr(response, "_hidden_params", None) or {}
    return hidden.get("response_cost")
