"""The outgoing event stream of a chat call."""

from __future__ import annotations

from typing import Any

import orjson

from sentinella_plugins.api.problems import problem
from sentinella_plugins.gateway import answers
from sentinella_plugins.gateway.assembly import Assembly
from sentinella_plugins.gateway.wire import Send, send_start, sse
from sentinella_plugins.kernel.call import Call, Json, Usage
from sentinella_plugins.kernel.errors import SentinellaError
from sentinella_plugins.kernel.money import FREE

_DONE = b"data: [DONE]\n\n"


class Outgoing:
    """Sends chunks as they come, but keeps the one with `finish_reason` until the books are closed.

    So the added fields ride on the last chunk, and a client that did not ask for usage never sees a chunk
    without choices. One identity for the client, however many models had to speak.
    """

    def __init__(
        self,
        call: Call,
        send: Send,
        *,
        wants_usage: bool,
        cached: bool = False,
        withholds_tools: bool = False,
    ) -> None:
        self._call = call
        self._send = send
        self._wants_usage = wants_usage
        self._cached = cached
        self._withholds_tools = withholds_tools
        self._assembly = Assembly()
        self._finish: dict[str, Any] | None = None
        self._last: dict[str, Any] = {}
        self._spoke: set[int] = set()
        self._ended: set[int] = set()
        self.started = False
        self.began = False
        self.text: list[str] = []
        self.called_tools = False
        wanted = call.body.get("n")
        self._wanted = wanted if isinstance(wanted, int) else 1

    @property
    def finished(self) -> bool:
        """Whether the model said that it was done, with each of the choices."""
        return len(self._ended) >= self._wanted

    @property
    def message(self) -> dict[str, Any]:
        """What the model has said since the last round of tools."""
        return self._assembly.message()

    def body(self, usage: Usage) -> dict[str, Any]:
        """The whole answer."""
        return self._assembly.body(self._last, answers.usage_json(usage))

    @property
    def continuable(self) -> bool:
        """Half a tool call cannot be taken up by another model, nor can several answers at once."""
        return not self.called_tools and self._wanted == 1

    async def chunks(self, batch: list[dict[str, Any]], model: str) -> str:
        """Sends what came together in one piece; gives its text."""
        events: list[bytes] = []
        text: list[str] = []
        for body in batch:
            choices = body.get("choices") or []
            for choice in choices:
                self._assembly.add(choice)
                if self._withholds_tools and (choice.get("delta") or {}).pop("tool_calls", None):
                    self.called_tools = True
            body.pop("usage", None)
            self._identify(body, model)
            if not any(_says_something(choice) for choice in choices):
                continue
            text.extend(self._text(choice) for choice in choices)
            self._ended.update(choice.get("index", 0) for choice in choices if choice["finish_reason"])
            if self._finish is None and any(choice["finish_reason"] for choice in choices):
                self._finish = body
            else:
                events.append(sse(orjson.dumps(body, default=str)))
        if events:
            self.began = True
            await self._events(b"".join(events), model)
        return "".join(text)

    def next_round(self) -> None:
        """Our tools have run: what the model says now is a new answer to the same client."""
        self.began = False
        self.called_tools = False
        self.forget()

    def forget(self) -> None:
        """What was heard of an attempt that nothing was sent of."""
        self._assembly = Assembly()
        self.text.clear()
        self._ended.clear()
        self._finish = None

    async def tell(self, extension: Json) -> None:
        """Something that only clients who know Sentinella look at."""
        empty = {"index": 0, "delta": {}, "finish_reason": None}
        chunk = {
            "id": self._call.id,
            "object": "chat.completion.chunk",
            "created": int(self._call.received_at),
        }
        chunk |= {"model": self._call.model, **self._last, "choices": [empty], "sentinella": extension}
        await self._events(sse(orjson.dumps(chunk, default=str)), str(chunk["model"]))

    async def end(self, additions: dict[str, Any], usage: Usage) -> None:
        last = self._finish or _stopped(self._last)
        if self._withholds_tools and self.called_tools:
            await self._hand_over(last)
        last["choices"] = [*last["choices"], *self._unended(last["choices"][0])]
        events = b""
        if self._wants_usage:
            events = sse(orjson.dumps(last, default=str))
            last = {**last, "choices": [], "usage": answers.usage_json(usage)}
        events += sse(orjson.dumps({**last, **additions}, default=str)) + _DONE
        await self._events(events, str(last.get("model", "")), more=False)

    async def fail(self, error: SentinellaError) -> None:
        """Tells that the answer is broken: an error event, and no `[DONE]` that would call it complete."""
        body = {**problem(error).body, "sentinella": {"request_id": self._call.id}}
        await self._events(sse(orjson.dumps(body, default=str)), "", more=False)

    async def restart(self, model: str) -> None:
        """Tells clients that know the extension to forget what they got: the answer begins anew."""
        marked = {**self._last, "model": model, "choices": [], "sentinella": {"restart": True}}
        self.forget()
        self._spoke.clear()
        await self._events(sse(orjson.dumps(marked, default=str)), model)

    async def _hand_over(self, last: dict[str, Any]) -> None:
        """The calls of tools that are the client's to run."""
        calls = [{"index": place, **call} for place, call in enumerate(self.message.get("tool_calls") or ())]
        choice = {"index": 0, "delta": {"tool_calls": calls}, "finish_reason": None}
        await self._events(sse(orjson.dumps({**last, "choices": [choice]}, default=str)), str(last["model"]))

    async def _events(self, data: bytes, model: str, *, more: bool = True) -> None:
        if not self.started:
            self.started = True
            cost = FREE if self._cached else None
            headers = answers.headers(self._call, model=model, cost=cost, cached=self._cached)
            await send_start(
                self._send, 200, {"content-type": "text/event-stream", "cache-control": "no-cache", **headers}
            )
        await self._send({"type": "http.response.body", "body": data, "more_body": more})

    def _unended(self, example: dict[str, Any]) -> list[dict[str, Any]]:
        """LiteLLM ends only the first of several choices."""
        missing = sorted(self._spoke - self._ended - {example.get("index", 0)})
        return [{**example, "index": index, "delta": {}} for index in missing]

    def _identify(self, body: dict[str, Any], model: str) -> None:
        body["model"] = model
        body["id"] = self._last.get("id") or body.get("id") or self._call.id
        body["created"] = self._last.get("created") or body.get("created") or int(self._call.received_at)
        body.setdefault("object", "chat.completion.chunk")
        for choice in body.get("choices") or ():
            choice.setdefault("finish_reason", None)
            delta = choice.get("delta") or {}
            delta.pop("provider_specific_fields", None)
            delta.pop("role", None)
        self._last = body

    def _text(self, choice: dict[str, Any]) -> str:
        delta = choice.get("delta") or {}
        index = choice.get("index", 0)
        if index not in self._spoke and delta:
            # With the first words, not before: until then another model may still answer in this one's place.
            self._spoke.add(index)
            choice["delta"] = {"role": "assistant", **delta}
        self.text.append(str(delta.get("content") or ""))
        calls = delta.get("tool_calls") or ()
        self.called_tools = self.called_tools or bool(calls)
        arguments = (str((call.get("function") or {}).get("arguments") or "") for call in calls)
        return (
            str(delta.get("content") or "") + str(delta.get("reasoning_content") or "") + "".join(arguments)
        )


def _says_something(choice: dict[str, Any]) -> bool:
    delta = choice.get("delta") or {}
    return bool(choice.get("finish_reason") or any(value not in (None, "") for value in delta.values()))


def _stopped(body: dict[str, Any]) -> dict[str, Any]:
    """A provider that sent `[DONE]` without a reason: its answer is complete all the same."""
    return {**body, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
