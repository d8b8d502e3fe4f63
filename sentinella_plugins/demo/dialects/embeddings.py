from __future__ import annotations

from array import array
from base64 import b64encode
from dataclasses import dataclass
from functools import lru_cache
from hashlib import shake_256

from ..exchange import Answer, Ask, BadRequest, Json, Turn
from .base import EVENT_STREAM, Encoder, required, whole_number

WIDTHS = {"text-embedding-3-large": 3072, "mistral-embed": 1024}
WIDTH = 1536


@dataclass(frozen=True, slots=True)
class Embeddings:
    provider: str
    media: bytes = EVENT_STREAM

    def read(self, body: Json) -> Ask:
        inputs = inputs_of(body.get("input"))
        return Ask(
            model=required(body, "model"),
            turns=tuple(Turn("user", text) for text in inputs),
            inputs=inputs,
            dimensions=whole_number(body, "dimensions", "output_dimension"),
            base64=body.get("encoding_format") == "base64",
        )

    def whole(self, ask: Ask, answer: Answer) -> Json:
        width = ask.dimensions or WIDTHS.get(ask.model, WIDTH)
        vectors = [vector(text, width) for text in ask.inputs]
        rows = [b64encode(v.tobytes()).decode() if ask.base64 else v.tolist() for v in vectors]
        return {
            "object": "list",
            "data": [{"object": "embedding", "index": i, "embedding": row} for i, row in enumerate(rows)],
            "model": ask.model,
            "usage": {"prompt_tokens": ask.prompt_tokens, "total_tokens": ask.prompt_tokens},
        }

    def encoder(self, ask: Ask) -> Encoder:
        raise BadRequest("Embeddings are not streamed.")


@lru_cache(maxsize=1_024)
def vector(text: str, width: int) -> array[float]:
    """A unit vector of 32-bit floats that depends on nothing but `text` and `width`."""
    raw = array("h", shake_256(text.encode()).digest(2 * width))
    norm = sum(x * x for x in raw) ** 0.5 or 1.0
    return array("f", (x / norm for x in raw))


def inputs_of(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list) and value:
        if all(isinstance(x, int) for x in value):
            return (repr(value),)
        return tuple(x if isinstance(x, str) else repr(x) for x in value)
    raise BadRequest("'input' is a required string or non-empty list.")
