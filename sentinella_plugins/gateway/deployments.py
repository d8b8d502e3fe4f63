"""The deployments of the YAML, made ready: other bases from the environment, the demo upstream where no key
is set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sentinella_plugins.demo.bases import api_base, stands_in_for

_ENVIRONMENT_NAMES = {
    "gemini": ("GOOGLE", "GEMINI"),
    "cohere_chat": ("COHERE",),
    "together_ai": ("TOGETHERAI", "TOGETHER"),
}


def provider_of(upstream: str) -> str:
    """`openai/gpt-4o` → `openai`; a bare name is OpenAI's."""
    return upstream.split("/", 1)[0] if "/" in upstream else "openai"


def prepare(
    models: Sequence[Mapping[str, Any]], env: Mapping[str, str], demo_url: str | None
) -> list[dict[str, Any]]:
    """Copies of the deployments as LiteLLM's Router shall see them; `demo_url` is `None` when the demo is
    switched off."""
    ready = [_prepare(model, env, demo_url) for model in models]
    # Without its key a provider would still be sent the prompt, only to refuse it.
    return [model for model in ready if not _lacks_key(model["litellm_params"])]


def needs_demo(models: Sequence[Mapping[str, Any]]) -> bool:
    return any(_lacks_key(model["litellm_params"]) for model in models)


def _prepare(model: Mapping[str, Any], env: Mapping[str, str], demo_url: str | None) -> dict[str, Any]:
    params = dict(model["litellm_params"])
    info = dict(model.get("model_info") or {})
    provider = provider_of(params["model"])
    base = _base_from(env, provider)
    if base and not params.get("api_base"):
        params["api_base"] = base
    if _lacks_key(params):
        if params.get("api_base"):
            params["api_key"] = "none"
        elif demo_url is not None and stands_in_for(provider):
            params |= {"api_base": api_base(demo_url, provider), "api_key": "demo"}
            info["demo"] = True
    # One failure is retried in one place: neither LiteLLM's adapters nor the providers' SDKs try again by
    # themselves.

    params.setdefault("max_retries", 0)
    return {**model, "litellm_params": params, "model_info": info}


def _lacks_key(params: Mapping[str, Any]) -> bool:
    return "api_key" in params and not params["api_key"]


def _base_from(env: Mapping[str, str], provider: str) -> str | None:
    names = _ENVIRONMENT_NAMES.get(provider, (provider.upper(),))
    return next((env[f"{name}_API_BASE"] for name in names if env.get(f"{name}_API_BASE")), None)
