"""HTTP servers that do what they like, byte by byte: for tests of what asks strangers' addresses."""

from __future__ import annotations

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address

Address = IPv4Address | IPv6Address
Behave = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Asked:
    """A request as it came."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Wild:
    """`paths` says what is done for a path, without its query; what was asked is in `asked`."""

    port: int = 0
    paths: dict[str, Behave] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    def url(self, path: str, host: str = "tool.test", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}{path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while request := await _read(reader):
                self.asked.append(request)
                await self.paths[request.target.split("?")[0]](writer)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            self.gone.set()
        finally:
            writer.close()
            with suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()


@asynccontextmanager
async def wild(tls: ssl.SSLContext | None = None) -> AsyncIterator[Wild]:
    found = Wild()
    tasks: set[asyncio.Task[None]] = set()

    def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(found.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accepted, "127.0.0.1", 0, ssl=tls)
    found.port = server.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


async def _read(reader: asyncio.StreamReader) -> Asked | None:
    with suppress(asyncio.IncompleteReadError):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, _ = head[0].split(" ")
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in head[1:] if line)
        }
        return Asked(method, target, headers, await reader.readexactly(int(headers.get("content-length", 0))))
    return None


def says(
    body: bytes | str = b"", status: int = 200, content_type: str = "application/json", **headers: str
) -> Behave:
    """A whole, honest answer, except for the headers given."""
    content = body.encode() if isinstance(body, str) else body
    lines = {"content-type": content_type, "content-length": str(len(content))}
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}

    async def behave(writer: asyncio.StreamWriter) -> None:
        writer.write(head(status, lines) + content)

    return behave


def redirects(to: str, status: int = 302) -> Behave:
    return says(status=status, location=to)


def head(status: int, headers: dict[str, str]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} Whatever\r\n{lines}\r\n".encode("latin-1")


async def silent(_writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def endless(writer: asyncio.StreamWriter) -> None:
    """Never stops, as long as somebody reads."""
    writer.write(head(200, {"content-type": "text/plain", "transfer-encoding": "chunked"}))
    while True:
        writer.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
        await writer.drain()


async def trickling(writer: asyncio.StreamWriter) -> None:
    """A byte every now and then, for ever: no single read is late."""
    writer.write(head(200, {"content-type": "text/plain", "transfer-encoding": "chunked"}))
    while True:
        writer.write(b"1\r\nx\r\n")
        await writer.drain()
        await asyncio.sleep(0.02)


def cut(body: bytes, promised: int) -> Behave:
    """Promises more than it sends, then closes."""

    async def behave(writer: asyncio.StreamWriter) -> None:
        writer.write(head(200, {"content-length": str(promised)}) + body)
        await writer.drain()
        writer.close()

    return behave


def bomb(size: int) -> Behave:
    return says(gzip.compress(b"\0" * size), content_encoding="gzip", content_type="text/plain")


class Names:
    """A resolver with a table of its own; `asked` counts."""

    def __init__(self, **names: Sequence[str]) -> None:
        self.names = {name.replace("_", "."): addresses for name, addresses in names.items()}
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[Address]:
        self.asked.append(host)
        return [ip_address(text) for text in self.names[host]]
