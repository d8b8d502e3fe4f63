"""The models that can be asked, and what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from sentinella_plugins.kernel.call import Json, Usage
from sentinella_plugins.kernel.money import Nano


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelCard:
    """Prices in USD per million tokens and sizes in tokens come from LiteLLM's cost map; `None` is
    unknown."""

    name: str
    provider: str
    upstream: str
    mode: str = "chat"
    context_window: int | None = None
    max_output_tokens: int | None = None
    input_usd_per_million: float | None = None
    output_usd_per_million: float | None = None
    capabilities: tuple[str, ...] = ()
    deprecated: bool = False
    replaced_by: str | None = None
    demo: bool = False


class Catalogue(Protocol):
    def cards(self) -> Sequence[ModelCard]: ...

    def find(self, name: str) -> ModelCard | None: ...

    async def count_prompt(self, model: str, body: Json) -> int:
        """Tokens of the prompt of a chat, completion, embedding, responses or messages body, tools
        included."""
        ...

    def cost(self, model: str, usage: Usage) -> Nano:
        """Price of this usage by LiteLLM's cost map and the YAML's overrides; 0 when the model has no
        price."""
        ...
