"""LiteLLM's stream parsers, made to tell what they leave out.

They drop a chunk that is no JSON, and put a `stop` of their own under every chunk of Gemini's: half an
answer would look like a whole one.
"""

from __future__ import annotations

from typing import Any

from litellm.llms.base_llm.base_model_iterator import BaseModelResponseIterator
from litellm.llms.vertex_ai.gemini.vertex_and_google_ai_studio_gemini import (
    ModelResponseIterator as GeminiIterator,
)

_lenient = BaseModelResponseIterator._string_to_dict_parser
_parse = GeminiIterator.chunk_parser


def install() -> None:
    """Once per process, before the first stream."""
    BaseModelResponseIterator._string_to_dict_parser = staticmethod(_strict)  # type: ignore[method-assign]
    GeminiIterator.chunk_parser = _noting  # type: ignore[method-assign]


class ProviderStream:
    """The stream inside the wrapper that the Router puts round it for its own fallbacks. Made before its
    first chunk."""

    def __init__(self, stream: object) -> None:
        frame = getattr(getattr(stream, "_async_generator", None), "ag_frame", None)
        self._inner = stream if frame is None else frame.f_locals.get("model_response", stream)
        self._source = getattr(self._inner, "completion_stream", None)

    @property
    def told_its_end(self) -> bool:
        """Whether the provider said why its stream ended: else LiteLLM says `stop` in its place."""
        if isinstance(self._source, GeminiIterator):
            return bool(getattr(self._source, "told_end", False))
        reasons = ("received_finish_reason", "intermittent_finish_reason")
        return any(getattr(self._inner, name, "unknown") is not None for name in reasons)


def _strict(str_line: str) -> dict[str, Any] | None:
    found = _lenient(str_line)
    if found is None and str_line.startswith("data:") and str_line[5:].strip() not in ("", "[DONE]"):
        raise ValueError("a chunk of the stream is no JSON")
    return found


def _noting(self: Any, chunk: dict[str, Any]) -> Any:
    ended = any(candidate.get("finishReason") for candidate in chunk.get("candidates") or ())
    self.told_end = getattr(self, "told_end", False) or ended
    return _parse(self, chunk)
