"""The outgoing event stream of a chat call."""

from __future__ import annotations

from typing import Any

import orjson

from sentinella_plugins.api.problems import problem
from sentinella_plugins.gateway import answers
from sentinella_plugins.gateway.wire import Send, send_start, sse
from sentinella_plugins.kernel.call import Call, Usage
from sentinella_plugins.kernel.errors import SentinellaError

_DONE = b"data: [DONE]\n\n"


class Outgoing:
    """Sends chunks as they come, but keeps the one with `finish_reason` until the books are closed: the added
    fields ride on the last chunk, and a client that did not ask for usage never sees a chunk without
    choices."""

    def __init__(self, call: Call, send: Send, *, wants_usage: bool) -> None:
        self._call = call
        self._send = send
        self._wants_usage = wants_usage
        self._finish: dict[str, Any] | None = None
        self._last: dict[str, Any] = {}
        self.started = False

    @property
    def finished(self) -> bool:
        """Whether the model said that it was done."""
        return self._finish is not None

    async def chunk(self, chunk: Any, model: str) -> str:
        """Sends one of LiteLLM's chunks; gives its text."""
        body = chunk.model_dump(exclude_none=True, exclude_unset=True)
        body["model"] = model
        usage = body.pop("usage", None)
        choices = body.get("choices") or []
        self._last = body
        if not choices or (usage is not None and not any(_says_something(choice) for choice in choices)):
            return ""
        for choice in choices:
            choice.setdefault("finish_reason", None)
            choice.get("delta", {}).pop("provider_specific_fields", None)
        if self._finish is None and any(choice["finish_reason"] for choice in choices):
            self._finish = body
        else:
            await self._event(orjson.dumps(body, default=str), model)
        return "".join(_text(choice) for choice in choices)

    async def end(self, additions: dict[str, Any], usage: Usage) -> None:
        last = self._finish or self._last
        model = str(last.get("model", ""))
        if self._wants_usage:
            await self._event(orjson.dumps(last, default=str), model)
            last = {**last, "choices": [], "usage": _usage(usage)}
        await self._event(orjson.dumps({**last, **additions}, default=str), model)
        await self._send({"type": "http.response.body", "body": _DONE})

    async def fail(self, error: SentinellaError) -> None:
        """Tells the truth about a broken answer: an error event, and no `[DONE]` that would call it
        complete."""
        body = {**problem(error).body, "sentinella": {"request_id": self._call.id}}
        await self._send({"type": "http.response.body", "body": sse(orjson.dumps(body, default=str))})

    async def _event(self, data: bytes, model: str) -> None:
        if not self.started:
            self.started = True
            headers = answers.headers(self._call, model=model, cost=None)
            await send_start(
                self._send, 200, {"content-type": "text/event-stream", "cache-control": "no-cache", **headers}
            )
        await self._send({"type": "http.response.body", "body": sse(data), "more_body": True})


def _says_something(choice: dict[str, Any]) -> bool:
    return bool(choice.get("finish_reason") or any(choice.get("delta", {}).values()))


def _text(choice: dict[str, Any]) -> str:
    delta = choice.get("delta") or {}
    calls = delta.get("tool_calls") or ()
    arguments = (str((call.get("function") or {}).get("arguments") or "") for call in calls)
    return str(delta.get("content") or "") + str(delta.get("reasoning_content") or "") + "".join(arguments)


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.total,
        "prompt_tokens_details": {"cached_tokens": usage.cached},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    }
