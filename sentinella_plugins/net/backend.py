"""Connections that lead exactly where the guard has looked: names are resolved here and nowhere later."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpcore2

from sentinella_plugins.net.guard import Address, Guard, literal
from sentinella_plugins.net.models import HostUnknown

Resolve = Callable[[str, int], Awaitable[Sequence[Address]]]
_MOST_ADDRESSES = 16
_MOST_TRIED = 4


class Resolver:
    """The machine's own resolver, in threads of its own: slow name servers slow nothing else down."""

    def __init__(self, threads: int) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="sentinella-resolver")

    async def __call__(self, host: str, port: int) -> Sequence[Address]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, _look_up, host, port)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _look_up(host: str, port: int) -> Sequence[Address]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise HostUnknown from None
    return [ipaddress.ip_address(str(entry[4][0])) for entry in found]


class GuardedBackend(httpcore2.AsyncNetworkBackend):
    """Refuses a host if any of its addresses is refused, then connects to those addresses, not to the name.
    TLS and `Host` keep the name: they are made above this."""

    def __init__(self, guard: Guard, resolve: Resolve, connect_s: float) -> None:
        self._guard = guard
        self._resolve = resolve
        self._connect_s = connect_s
        self._inner = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  # the library's signature
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        try:
            async with asyncio.timeout(timeout or self._connect_s):
                return await self._first(await self.addresses(host, port), port)
        except TimeoutError:
            raise httpcore2.ConnectTimeout from None

    async def addresses(self, host: str, port: int) -> Sequence[Address]:
        """All of them allowed, in the resolver's order. Raises `AddressRefused` or `HostUnknown`."""
        written = literal(host)
        found = [written] if written is not None else list(dict.fromkeys(await self._resolve(host, port)))
        if not 0 < len(found) <= _MOST_ADDRESSES:
            raise HostUnknown
        for address in found:
            self._guard.address(host, address)
        return found

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def _first(self, addresses: Sequence[Address], port: int) -> httpcore2.AsyncNetworkStream:
        """Of those that answer. One that does not leaves time for the next."""
        failure: Exception = httpcore2.ConnectError()
        patience = self._connect_s if len(addresses) == 1 else self._connect_s / 2
        for address in addresses[:_MOST_TRIED]:
            try:
                return await self._inner.connect_tcp(str(address), port, patience)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        raise failure
