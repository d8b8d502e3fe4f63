"""The wire formats, and which path speaks which."""

from __future__ import annotations

from dataclasses import dataclass

from ..bases import OPENAI_SHAPED
from .anthropic import AnthropicMessages
from .base import Dialect, Encoder
from .cohere import CohereChat
from .embeddings import Embeddings
from .gemini import METHODS, GeminiContent
from .openai_chat import OpenAIChat
from .openai_responses import OpenAIResponses
from .openai_text import OpenAIText

__all__ = ["Dialect", "Encoder", "Target", "target_for"]


@dataclass(frozen=True, slots=True)
class Target:
    provider: str
    dialect: Dialect


def target_for(path: str, accept: bytes | None = None) -> Target | None:
    if found := _PATHS.get(path):
        return found
    if path == "/cohere/v2/chat":
        return Target("cohere", CohereChat(_only_json(accept or b"")))
    return _gemini(path) if path.startswith("/gemini/") else None


def _only_json(accept: bytes) -> bool:
    return b"application/json" in accept and b"event-stream" not in accept


def _gemini(path: str) -> Target | None:
    _, found, rest = path.partition("/models/")
    model, _, method = rest.rpartition(":")
    if not found or not model or method not in METHODS:
        return None
    return Target("gemini", GeminiContent(model, method == METHODS[1]))


def _openai_paths(provider: str) -> dict[str, Target]:
    shapes: dict[str, Dialect] = {
        "chat/completions": OpenAIChat(provider),
        "completions": OpenAIText(provider),
        "embeddings": Embeddings(provider),
        "responses": OpenAIResponses(provider),
    }
    return {f"/{provider}/v1/{name}": Target(provider, dialect) for name, dialect in shapes.items()}


_PATHS: dict[str, Target] = {
    "/anthropic/v1/messages": Target("anthropic", AnthropicMessages()),
    **{path: target for provider in OPENAI_SHAPED for path, target in _openai_paths(provider).items()},
}
