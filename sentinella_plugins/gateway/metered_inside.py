"""A metered call as LiteLLM's own endpoint sees it."""

from __future__ import annotations

import asyncio

import orjson

from sentinella_plugins.gateway.metered_request import COMPLETIONS
from sentinella_plugins.gateway.wire import Message, Receive, Scope
from sentinella_plugins.kernel.call import Call

# LiteLLM is steered by headers too: tags, timeouts, retries, its cache, its log.
_PASSED_ON = frozenset(
    [
        b"accept",
        b"anthropic-beta",
        b"anthropic-version",
        b"authorization",
        b"host",
        b"traceparent",
        b"tracestate",
        b"user-agent",
        b"x-api-key",
        b"x-forwarded-for",
    ]
)


def inner_scope(scope: Scope, call: Call, body: bytes) -> Scope:
    """LiteLLM sees our call id as its own, and `custom_auth` finds the principal. The query is left out:
    `?model=` would win over the model that this key may use."""
    headers = [(name, value) for name, value in scope["headers"] if name in _PASSED_ON]
    headers += [
        (b"x-litellm-call-id", call.id.encode()),
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    return {**scope, "query_string": b"", "headers": headers, "sentinella.principal": call.principal}


def payload(call: Call) -> bytes:
    body = {**call.body, "model": call.model}
    if call.stream and call.route == COMPLETIONS:
        # Otherwise a streamed text completion tells no usage.
        options: object = call.body.get("stream_options")
        body["stream_options"] = {**(options if isinstance(options, dict) else {}), "include_usage": True}
    return orjson.dumps(body)


def replay(body: bytes) -> Receive:
    """The body, then silence: the door itself watches for the client's going, and cancels."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if not messages:
            await asyncio.Event().wait()
        return messages.pop()

    return receive
