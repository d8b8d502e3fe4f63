"""ASGI, small: reading a bounded body, writing answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

import orjson

from sentinella_plugins.api.guard import credential_of
from sentinella_plugins.api.problems import Problem, problem
from sentinella_plugins.kernel.errors import BadRequest, ClientGone, HeadersTooLarge, RequestTimeout, TooLarge

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
_MOST_HEADER_BYTES = 64 * 1024


def headers_of(scope: Scope, max_count: int) -> dict[str, str]:
    """Lower-case names; of a repeated header the first value counts."""
    raw = scope["headers"]
    if len(raw) > max_count:
        raise HeadersTooLarge(f"The request has {len(raw)} headers; this gateway accepts {max_count}.")
    size = sum(len(name) + len(value) for name, value in raw)
    if size > _MOST_HEADER_BYTES:
        raise HeadersTooLarge(
            f"The request has {size} bytes of headers; this gateway accepts {_MOST_HEADER_BYTES}."
        )
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(raw)}


def credential(headers: Mapping[str, str]) -> str | None:
    return credential_of(headers.get("authorization"), headers.get("x-api-key"))


async def read_body(receive: Receive, headers: Mapping[str, str], *, limit: int, timeout_s: float) -> bytes:
    """The whole body. `TooLarge` as early as its announced or real length shows it, `RequestTimeout`,
    `ClientGone`."""
    announced = headers.get("content-length", "0")
    if not announced.isascii() or not announced.isdigit():
        raise BadRequest("The header `content-length` is not a number.")
    if int(announced) > limit:
        raise TooLarge(f"The body has {announced} bytes; this gateway accepts {limit}.")
    if headers.get("content-encoding", "identity") != "identity":
        raise BadRequest("Compressed request bodies are not accepted: send it without `content-encoding`.")
    try:
        async with asyncio.timeout(timeout_s):
            return await _collect(receive, limit)
    except TimeoutError:
        raise RequestTimeout(f"The rest of the body did not arrive within {timeout_s:g} seconds.") from None


async def _collect(receive: Receive, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise TooLarge(f"The body has more than {limit} bytes, which is what this gateway accepts.")
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)


async def until_gone(receive: Receive) -> None:
    """Returns when the client closes the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def send_json(send: Send, status: int, body: Mapping[str, Any], headers: Mapping[str, str]) -> None:
    content = orjson.dumps(body, default=str)
    await send_start(
        send, status, {"content-type": "application/json", "content-length": str(len(content)), **headers}
    )
    await send({"type": "http.response.body", "body": content})


async def send_start(send: Send, status: int, headers: Mapping[str, str]) -> None:
    raw = [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})


async def send_problem(
    send: Send,
    error: Exception,
    headers: Mapping[str, str],
    shape: Callable[[Exception], Problem] = problem,
) -> None:
    told = shape(error)
    # What was not read of a refused body would be taken for the next request on this connection.
    close = {"connection": "close"} if told.status in (408, 413, 431) else {}
    await send_json(send, told.status, told.body, {**headers, **told.headers, **close})


def sse(data: bytes) -> bytes:
    return b"data: " + data + b"\n\n"
