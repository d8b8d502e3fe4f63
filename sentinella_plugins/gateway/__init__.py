"""The only package that imports LiteLLM. `proxy_config.yaml` names `handler` and `custom_auth`, and may name
`routing_plugin` and `classifier_plugin`: naming one installs all."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sentinella_plugins.gateway.house import House


@lru_cache(maxsize=1)
def installed() -> House:
    from sentinella_plugins.gateway.house import install

    return install()


def __getattr__(name: str) -> Any:
    if name == "handler":
        return installed().handler
    if name == "custom_auth":
        return installed().custom_auth
    if name in ("routing_plugin", "classifier_plugin"):
        from sentinella_plugins.gateway.router_plugin import SentinellaClassifier, SentinellaRouting

        kind = SentinellaRouting if name == "routing_plugin" else SentinellaClassifier
        return kind(lambda: (installed().app.router, installed().catalogue))
    raise AttributeError(name)
