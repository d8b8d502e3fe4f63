from __future__ import annotations

from dataclasses import dataclass
from secrets import token_hex
from time import time

from ..exchange import Answer, Ask, BadRequest, Finish, Json, ToolCall, Turn, Usage, fields
from .base import EVENT_STREAM, data, required, whole_number
from .openai_chat import usage_of


@dataclass(frozen=True, slots=True)
class OpenAIText:
    """The legacy `completions` endpoint."""

    provider: str
    media: bytes = EVENT_STREAM

    def read(self, body: Json) -> Ask:
        options = fields(body.get("stream_options"))
        return Ask(
            model=required(body, "model"),
            turns=(Turn("user", prompt_of(body.get("prompt"))),),
            stream=body.get("stream") is True,
            max_tokens=whole_number(body, "max_tokens"),
            include_usage=options.get("include_usage") is True,
            n=whole_number(body, "n") or 1,
        )

    def whole(self, ask: Ask, answer: Answer) -> Json:
        usage = answer.usage_for(ask, len(answer.pieces) * ask.n)
        choice = {"text": answer.text, "logprobs": None, "finish_reason": answer.finish}
        choices = [{"index": i, **choice} for i in range(ask.n)]
        return frame(ask.model) | {"choices": choices, "usage": usage_of(self.provider, usage)}

    def encoder(self, ask: Ask) -> OpenAITextEncoder:
        return OpenAITextEncoder(self.provider, ask)


class OpenAITextEncoder:
    def __init__(self, provider: str, ask: Ask) -> None:
        self._provider = provider
        self._ask = ask
        self._frame = frame(ask.model)

    def open(self) -> bytes:
        return b""

    def text(self, piece: str) -> bytes:
        return self._chunks(piece, None)

    def call(self, index: int, call: ToolCall) -> bytes:
        return b""

    def close(self, finish: Finish, usage: Usage) -> bytes:
        counted = {"choices": [], "usage": usage_of(self._provider, usage)}
        tail = data(self._frame | counted) if self._ask.include_usage else b""
        return self._chunks("", finish) + tail

    def end(self) -> bytes:
        return b"data: [DONE]\n\n"

    def _chunks(self, text: str, finish: Finish | None) -> bytes:
        choice = {"text": text, "logprobs": None, "finish_reason": finish}
        frames = ({**self._frame, "choices": [{"index": i, **choice}]} for i in range(self._ask.n))
        return b"".join(map(data, frames))


def frame(model: str) -> Json:
    return {
        "id": f"cmpl-{token_hex(12)}",
        "object": "text_completion",
        "created": int(time()),
        "model": model,
    }


def prompt_of(prompt: object) -> str:
    if isinstance(prompt, str):
        return prompt
    if isinstance(prompt, list) and prompt and isinstance(prompt[0], str):
        return prompt[0]
    raise BadRequest("'prompt' is a required string or list of strings.")
