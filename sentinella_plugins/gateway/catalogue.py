"""The catalogue as LiteLLM knows it: the Router's deployments with the cost map's prices and sizes."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, cast

import litellm
from litellm.types.utils import CompletionTokensDetailsWrapper, PromptTokensDetailsWrapper
from litellm.types.utils import Usage as LiteLLMUsage

from sentinella_plugins.gateway.deployments import provider_of
from sentinella_plugins.gateway.pipe import fits
from sentinella_plugins.kernel.call import Json, Usage
from sentinella_plugins.kernel.catalogue import ModelCard
from sentinella_plugins.kernel.money import Nano, nano

logger = logging.getLogger(__name__)
_PROVIDER_NAMES = {"gemini": "google", "cohere_chat": "cohere", "together_ai": "together"}
_INLINE_LIMIT = 4_000
_CAPABILITIES = {
    "tools": "supports_function_calling",
    "vision": "supports_vision",
    "json_schema": "supports_response_schema",
    "reasoning": "supports_reasoning",
    "prompt_caching": "supports_prompt_caching",
    "pdf": "supports_pdf_input",
    "audio": "supports_audio_input",
    "prefill": "supports_assistant_prefill",
}


class LiteLLMCatalogue:
    """Filled once the Router stands (`fill`); until then it is empty."""

    def __init__(self, *, pipe: bool = True) -> None:
        self._may_pipe = pipe
        self._cards: dict[str, ModelCard] = {}
        self._params: dict[str, Mapping[str, Any]] = {}
        self._names: dict[str | None, str] = {}
        self._piped: dict[str, Mapping[str, Any]] = {}

    def fill(
        self, deployments: Sequence[Mapping[str, Any]], aliases: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        """`aliases` are further names of models, as `model_group_alias` gives them."""
        self._names = {
            str((model.get("model_info") or {}).get("id")): model["model_name"] for model in deployments
        }
        self._params = {model["model_name"]: model["litellm_params"] for model in reversed(deployments)}
        cards = {model["model_name"]: _card(model) for model in reversed(deployments)}
        self._cards = dict(reversed(cards.items()))
        sizes = Counter(model["model_name"] for model in deployments)
        alone = (model for model in deployments if sizes[model["model_name"]] == 1)
        self._piped = {
            model["model_name"]: model["litellm_params"]
            for model in alone
            if self._may_pipe and fits(model["litellm_params"])
        }
        for alias, target in aliases.items():
            if target in self._cards and alias not in self._cards:
                self._cards[alias] = replace(self._cards[target], name=alias)
                self._params[alias] = self._params[target]
                if target in self._piped:
                    self._piped[alias] = self._piped[target]
        # An answer names what stands in for a retired model: it has a price as well.
        for card in cards.values():
            if card.replaced_by:
                self._params.setdefault(card.replaced_by, self._params[card.name])

    def cards(self) -> Sequence[ModelCard]:
        return tuple(self._cards.values())

    def find(self, name: str) -> ModelCard | None:
        return self._cards.get(name)

    def piped(self, name: str) -> Mapping[str, Any] | None:
        """Parameters of a model that can be asked by the short road; `None` for all others."""
        return self._piped.get(name)

    def public_name(self, name: str) -> tuple[str, str]:
        """Name and provider of the model that answers to a name: of a retired one, what stands in for it."""
        card = self._cards.get(name)
        return (card.replaced_by or card.name, card.provider) if card else (name, "")

    def answered_by(self, response: Any, asked: str) -> tuple[str, str]:
        """Name and provider of the model that answered, by LiteLLM's id of its deployment."""
        hidden = getattr(response, "_hidden_params", None) or {}
        return self.public_name(self._names.get(hidden.get("model_id"), asked))

    async def count_text(self, text: str) -> int:
        if len(text) <= _INLINE_LIMIT:
            return _count(text, [], None)
        return await asyncio.to_thread(_count, text, [], None)

    async def count_prompt(self, model: str, body: Json) -> int:
        text, messages, tools = _countable(body)
        size = len(text) + sum(len(str(message.get("content") or "")) for message in messages)
        if size + (len(str(tools)) if tools else 0) <= _INLINE_LIMIT:
            return _count(text, messages, tools)
        return await asyncio.to_thread(_count, text, messages, tools)

    def cost(self, model: str, usage: Usage) -> Nano:
        params = self._params.get(model)
        if params is None:
            return Nano(0)
        try:
            prompt, completion = litellm.cost_per_token(
                model=params["model"],
                usage_object=_litellm_usage(usage),
                prompt_tokens=usage.prompt,
                completion_tokens=usage.completion,
                custom_cost_per_token=_custom_price(params),
            )
        except Exception:  # LiteLLM raises a bare Exception for a model without a price
            return Nano(0)
        return nano(prompt + completion)


def _card(model: Mapping[str, Any]) -> ModelCard:
    params, info = model["litellm_params"], model.get("model_info") or {}
    known = {**_cost_map(params["model"]), **{k: v for k, v in {**params, **info}.items() if v is not None}}
    provider = provider_of(params["model"])
    return ModelCard(
        name=model["model_name"],
        provider=_PROVIDER_NAMES.get(provider, provider),
        upstream=params["model"],
        mode=str(known.get("mode") or "chat"),
        context_window=known.get("max_input_tokens"),
        max_output_tokens=known.get("max_output_tokens"),
        input_usd_per_million=_per_million(known.get("input_cost_per_token")),
        output_usd_per_million=_per_million(known.get("output_cost_per_token")),
        capabilities=tuple(name for name, key in _CAPABILITIES.items() if known.get(key)),
        deprecated=bool(info.get("deprecated", False)),
        replaced_by=info.get("replaced_by"),
        demo=bool(info.get("demo", False)),
    )


def _cost_map(upstream: str) -> Mapping[str, Any]:
    try:
        return cast("Mapping[str, Any]", litellm.get_model_info(upstream))
    except Exception:  # LiteLLM raises a bare Exception for a model it does not know
        logger.warning("LiteLLM's cost map does not know `%s`: its calls count as free", upstream)
        return {}


def _per_million(price: float | None) -> float | None:
    return None if price is None else round(price * 1_000_000, 6)


def _custom_price(params: Mapping[str, Any]) -> Any:
    if params.get("input_cost_per_token") is None:
        return None
    return {
        "input_cost_per_token": params["input_cost_per_token"],
        "output_cost_per_token": params.get("output_cost_per_token") or 0.0,
    }


def _litellm_usage(usage: Usage) -> LiteLLMUsage:
    return LiteLLMUsage(
        prompt_tokens=usage.prompt,
        completion_tokens=usage.completion,
        total_tokens=usage.total,
        prompt_tokens_details=PromptTokensDetailsWrapper(cached_tokens=usage.cached),
        completion_tokens_details=CompletionTokensDetailsWrapper(reasoning_tokens=usage.reasoning),
    )


def _countable(body: Json) -> tuple[str, list[dict[str, Any]], list[Any] | None]:
    """Text, messages and tools of any of the model routes' bodies."""
    texts = [str(body[name]) for name in ("system", "instructions", "prompt") if body.get(name)]
    given = body.get("messages")
    source = body.get("input")
    if isinstance(source, list):
        texts += [item if isinstance(item, str) else str(item) for item in source]
    elif source is not None:
        texts.append(str(source))
    messages = [message for message in given if isinstance(message, dict)] if isinstance(given, list) else []
    tools = body.get("tools")
    return "\n".join(texts), messages, tools if isinstance(tools, list) else None


def _count(text: str, messages: list[dict[str, Any]], tools: list[Any] | None) -> int:
    total = litellm.token_counter(model="gpt-4o", text=text) if text else 0
    if messages:
        try:
            total += litellm.token_counter(model="gpt-4o", messages=messages, tools=tools)
        except Exception:  # content parts that LiteLLM cannot count: four characters are about a token
            total += sum(len(str(message)) for message in messages) // 4 + len(str(tools or "")) // 4
    return int(total)
