"""Answers that were there already: sent like fresh ones, streamed or not, at no cost."""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter
from typing import Any

from sentinella_plugins.gateway import answers
from sentinella_plugins.gateway.answers import Progress
from sentinella_plugins.gateway.stream import Outgoing
from sentinella_plugins.gateway.wire import Send, send_json
from sentinella_plugins.kernel.call import Call, Reply
from sentinella_plugins.pipeline import Pipeline


class Replies:
    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    async def play(self, call: Call, reply: Reply, send: Send, *, wants_usage: bool) -> None:
        body: dict[str, Any] = dict(reply.body)
        model = str(body.get("model", ""))
        progress = Progress(started=call.started, model=model)
        outcome = replace(progress.outcome("success", perf_counter(), body=body), cached=True)
        outcome = replace(outcome, replayed=reply.source == "idempotency")
        await self._pipeline.leave(call, outcome)
        added = answers.additions(call, outcome)
        if not call.stream:
            headers = answers.headers(call, model=model, cached=True)
            return await send_json(send, 200, {**body, **added}, headers)
        out = Outgoing(call, send, wants_usage=wants_usage, cached=True)
        await out.chunks(_chunks(body), model)
        await out.end(added, answers.usage_of_json(body.get("usage")))


def _chunks(body: dict[str, Any]) -> list[dict[str, Any]]:
    """A whole answer as the chunks of a stream: all of its words, then its end."""
    base = {
        "id": body.get("id"),
        "created": body.get("created"),
        "model": body.get("model"),
        "object": "chat.completion.chunk",
    }
    said = [
        {"index": _index(choice), "delta": _delta(choice.get("message") or {})} for choice in body["choices"]
    ]
    ended: list[dict[str, Any]] = [
        {"index": _index(choice), "delta": {}, "finish_reason": choice.get("finish_reason") or "stop"}
        for choice in body["choices"]
    ]
    return [{**base, "choices": said}, {**base, "choices": ended}]


def _index(choice: dict[str, Any]) -> int:
    return int(choice.get("index") or 0)


def _delta(message: dict[str, Any]) -> dict[str, Any]:
    delta = {name: value for name, value in message.items() if value is not None}
    if delta.get("tool_calls"):
        delta["tool_calls"] = [{"index": i, **tool} for i, tool in enumerate(delta["tool_calls"])]
    return delta
