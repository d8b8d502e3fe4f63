"""One HTTP exchange, with a hand on the TCP connection under it."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any

import orjson

from .exchange import Json

JSON = b"application/json"
LINGER_ZERO = struct.pack("ii", 1, 0)
LOOPBACK = ("127.", "::1", "::ffff:127.")


class ClientGone(Exception):
    """The client closed the connection before the answer was complete."""


class Wire:
    def __init__(self, scope: Any, receive: Any, send: Any) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._transport: asyncio.Transport = send.__self__.transport  # uvicorn's own, to reset and to cut
        self.status: int | None = None

    @property
    def path(self) -> str:
        return str(self._scope["path"])

    @property
    def method(self) -> str:
        return str(self._scope["method"])

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        return self._scope["headers"]  # type: ignore[no-any-return]

    @property
    def is_local(self) -> bool:
        client = self._scope.get("client")
        return bool(client) and str(client[0]).startswith(LOOPBACK)

    @property
    def closed(self) -> bool:
        return self._transport.is_closing()

    def header(self, name: bytes) -> bytes | None:
        for key, value in self.headers:
            if key == name:
                return value
        return None

    async def body(self) -> bytes:
        message = await self._receive()
        if not message.get("more_body"):
            return message.get("body", b"")  # type: ignore[no-any-return]
        parts = [message["body"]]
        while message.get("more_body"):
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            parts.append(message.get("body", b""))
        return b"".join(parts)

    async def json(self, status: int, body: Json, headers: dict[str, str] | None = None) -> None:
        await self.whole(status, orjson.dumps(body), headers=headers)

    async def whole(
        self, status: int, data: bytes, media: bytes = JSON, headers: dict[str, str] | None = None
    ) -> None:
        await self.start(status, media, len(data), headers)
        await self._send({"type": "http.response.body", "body": data})

    async def start(
        self, status: int, media: bytes, length: int | None = None, headers: dict[str, str] | None = None
    ) -> None:
        self.status = status
        lines = [(b"content-type", media)]
        if length is not None:
            lines.append((b"content-length", b"%d" % length))
        if headers:
            lines.extend((k.encode(), v.encode()) for k, v in headers.items())
        await self._send({"type": "http.response.start", "status": status, "headers": lines})

    async def write(self, data: bytes) -> None:
        if self._transport.is_closing():
            raise ClientGone
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": b""})

    async def gone(self) -> None:
        """Returns when the client has closed the connection."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self.gone(), seconds)
        except TimeoutError:
            return
        raise ClientGone

    def cut(self) -> None:
        self._transport.close()

    def reset(self) -> None:
        sock = self._transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
        self._transport.abort()
