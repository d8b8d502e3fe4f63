"""Model routes that LiteLLM serves itself: authenticated, limited and counted like a chat call."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Any

import orjson

from sentinella_plugins.gateway import answers
from sentinella_plugins.gateway.answers import Progress
from sentinella_plugins.gateway.catalogue import LiteLLMCatalogue
from sentinella_plugins.gateway.meter import Meter, Reading
from sentinella_plugins.gateway.wire import ASGIApp, Message, Receive, Scope, Send, until_gone
from sentinella_plugins.kernel.call import Attempt, Call, Status, Usage
from sentinella_plugins.kernel.errors import UpstreamFailed
from sentinella_plugins.kernel.money import FREE, Nano
from sentinella_plugins.pipeline import Pipeline

ROUTES = {
    path: route
    for route in ("/v1/completions", "/v1/embeddings", "/v1/responses", "/v1/messages")
    for path in (route, route.removeprefix("/v1"))
    if path != "/messages"
}
_FORBIDDEN = frozenset(
    [
        "api_base",
        "api_key",
        "api_version",
        "base_url",
        "custom_llm_provider",
        "deployment_id",
        "extra_headers",
        "fallbacks",
        "context_window_fallbacks",
        "headers",
        "litellm_metadata",
        "litellm_params",
        "mock_response",
        "mock_timeout",
        "mock_tool_calls",
        "model_info",
        "model_list",
        "num_retries",
        "organization",
        "proxy_server_request",
        "default_headers",
        "extra_query",
        "extra_body",
        "client",
        "cache",
        "no-log",
        "ssl_verify",
        "input_cost_per_token",
        "output_cost_per_token",
        "litellm_call_id",
        "litellm_session_id",
        "user_config",
        "guardrails",
    ]
)


def forbidden_field(data: dict[str, Any]) -> str | None:
    """A field of the body that would steer LiteLLM instead of the model."""
    return next(
        (name for name in data if name in _FORBIDDEN or name.startswith(("aws_", "vertex_", "azure_"))), None
    )


_SHORT_WAIT_S = 0.5


class Metered:
    def __init__(
        self, inner: ASGIApp, meter: Meter, catalogue: LiteLLMCatalogue, pipeline: Pipeline, wait_s: float
    ) -> None:
        self._inner = inner
        self._meter = meter
        self._catalogue = catalogue
        self._pipeline = pipeline
        self._wait_s = wait_s

    async def play(self, call: Call, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the call on to LiteLLM's endpoint; its answer is held back until its numbers are in the
        books."""
        self._meter.expect(call.id)
        answer = _Answer(send, call)
        began = perf_counter()
        try:
            await self._inner(_scope(scope, call), _replay(call, receive), answer.send)
            await self._settle(call, answer, began)
            await answer.release()
        except asyncio.CancelledError:
            await asyncio.shield(asyncio.ensure_future(self._settle(call, answer, began, gone=True)))
            raise
        except Exception as error:
            await self._settle(call, answer, began)
            if not answer.started:
                raise UpstreamFailed from error
        finally:
            self._meter.forget(call.id)

    async def _settle(self, call: Call, answer: _Answer, began: float, *, gone: bool = False) -> None:
        if answer.settled:
            return
        answer.settled = True
        ok = answer.status is not None and answer.status < 400 and answer.complete
        reading = None
        if answer.status is None or answer.status < 400:
            reading = await self._meter.read(call.id, self._wait_s if ok else _SHORT_WAIT_S)
        progress = Progress(started=call.started, first_token=answer.first_byte)
        progress.model, progress.provider = self._catalogue.public_name(call.model)
        usage, cost = _used(call, answer, reading)
        elapsed = (perf_counter() - began) * 1000
        attempt = Attempt(
            model=progress.model,
            provider=progress.provider,
            status="success" if ok else "error",
            ms=elapsed,
            cost=cost,
        )
        progress.spend(attempt, usage)
        status: Status = "success" if ok else "cancelled" if gone or answer.gone else "error"
        error = (
            None if ok else UpstreamFailed(code=f"status_{answer.status}" if answer.status else "no_answer")
        )
        outcome = progress.outcome(status, perf_counter(), error)
        answer.cost, answer.model = outcome.cost, outcome.model
        await self._pipeline.leave(call, outcome)


def _used(call: Call, answer: _Answer, reading: Reading | None) -> tuple[Usage, Nano]:
    """What LiteLLM told; of an answer whose numbers did not come in time, what was reserved for it."""
    if reading is not None:
        return reading.usage, reading.cost
    if call.estimate is None or answer.status is None or answer.status >= 400:
        return Usage(), FREE
    return Usage(
        prompt=call.estimate.prompt_tokens, completion=call.estimate.completion_tokens
    ), call.estimate.cost


class _Answer:
    """LiteLLM's answer on its way out. A JSON answer is held until the books are closed, so that its headers
    tell the cost; of a stream only the last message is."""

    def __init__(self, send: Send, call: Call) -> None:
        self._send = send
        self._call = call
        self._held: list[Message] = []
        self._streaming = False
        self.status: int | None = None
        self.first_byte: float | None = None
        self.started = self.complete = self.settled = self.gone = False
        self.cost: Any = 0
        self.model = ""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self._streaming = any(
                k == b"content-type" and v.startswith(b"text/event-stream") for k, v in message["headers"]
            )
        elif self.first_byte is None:
            self.first_byte = perf_counter()
        last = message["type"] == "http.response.body" and not message.get("more_body", False)
        self.complete = self.complete or last
        if last or not self._streaming:
            self._held.append(message)
        else:
            await self._pass(message)

    async def release(self) -> None:
        for message in self._held:
            await self._pass(message)
        self._held.clear()

    async def _pass(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            cost = None if self._streaming else self.cost
            added = answers.headers(self._call, model=self.model or self._call.model, cost=cost)
            ours = {name.encode() for name in added}
            kept = [(name, value) for name, value in message["headers"] if name.lower() not in ours]
            message = {
                **message,
                "headers": [*kept, *((k.encode(), v.encode("latin-1")) for k, v in added.items())],
            }
        try:
            await self._send(message)
        except OSError:
            self.gone = True
            raise


def _scope(scope: Scope, call: Call) -> Scope:
    """LiteLLM sees our call id as its own, and `custom_auth` finds the principal."""
    kept = [
        (name, value)
        for name, value in scope["headers"]
        if name not in (b"content-length", b"content-type") and not name.startswith(b"x-litellm-")
    ]
    headers = [
        *kept,
        (b"x-litellm-call-id", call.id.encode()),
        (b"content-type", b"application/json"),
        (b"content-length", str(len(_payload(call))).encode()),
    ]
    return {**scope, "headers": headers, "sentinella.principal": call.principal}


def _payload(call: Call) -> bytes:
    body = {**call.body, "model": call.model}
    if call.stream and call.route == "/v1/completions" and "stream_options" not in body:
        # Otherwise a streamed text completion tells no usage; the second field takes it out of the client's
        # stream again.

        body |= {"stream_options": {"include_usage": True}, "_litellm_strip_stream_usage": True}
    return orjson.dumps(body)


def _replay(call: Call, receive: Receive) -> Receive:
    sent = False

    async def replay() -> Message:
        nonlocal sent
        if not sent:
            sent = True
            return {"type": "http.request", "body": _payload(call), "more_body": False}
        await until_gone(receive)
        return {"type": "http.disconnect"}

    return replay
