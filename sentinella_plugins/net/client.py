"""HTTP to addresses that tenants gave: checked, bounded, without this machine's proxies."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from dataclasses import replace

import httpcore2
import httpx2

from sentinella_plugins.net.backend import Resolve, Resolver
from sentinella_plugins.net.config import NetConfig
from sentinella_plugins.net.guard import Guard, fits, host_of
from sentinella_plugins.net.models import (
    ConnectionFailed,
    DeadlinePassed,
    Inbound,
    Outbound,
    OutboundFailed,
    ResponseUnreadable,
    TooManyRedirects,
    UrlRefused,
)
from sentinella_plugins.net.transport import GuardedTransport, Lent

_MOVED = frozenset({301, 302, 303, 307, 308})
_AS_GET = frozenset({301, 302, 303})
_HARMLESS = frozenset({"accept", "accept-language", "user-agent"})
_ABOUT_CONTENT = frozenset({"content-type", "content-length", "content-encoding"})


class GuardedClient:
    """`resolve` and `tls` stand in for the machine's resolver and certificates."""

    def __init__(
        self, config: NetConfig, *, resolve: Resolve | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        self.guard = Guard(config)
        self._max_redirects = config.max_redirects
        self._resolver = Resolver(config.resolver_threads)
        self._transport = GuardedTransport(config, self.guard, resolve or self._resolver, tls)

    async def fetch(self, request: Outbound, *, within_s: float) -> Inbound:
        """The whole response, of whatever status, at most `within_s` seconds from now.

        Raises `UrlRefused`, `AddressRefused` or an `OutboundFailed`.
        """
        try:
            async with asyncio.timeout(within_s):
                return await self._follow(request)
        except (TimeoutError, httpcore2.TimeoutException):
            raise DeadlinePassed from None
        except (httpcore2.RemoteProtocolError, httpcore2.NetworkError, ssl.SSLError, OSError):
            raise ConnectionFailed from None
        except (httpcore2.ProtocolError, httpx2.DecodingError, httpx2.InvalidURL, UnicodeError):
            raise ResponseUnreadable from None

    def lend(self) -> httpx2.AsyncBaseTransport:
        """For a library that wants a client of its own: the same guard, the same connections."""
        return Lent(self._transport)

    async def close(self) -> None:
        with suppress(OutboundFailed, httpcore2.NetworkError):
            await self._transport.aclose()
        self._resolver.close()

    async def _follow(self, request: Outbound) -> Inbound:
        for hop in range(self._max_redirects + 1):
            answer = await self._ask(request, hop)
            target = answer.headers.get("location")
            if answer.status not in _MOVED or not target:
                return answer
            request = _moved(request, answer.status, target)
        raise TooManyRedirects

    async def _ask(self, request: Outbound, hop: int) -> Inbound:
        url = self.guard.url(request.url)
        if request.hosts is not None and not fits(request.hosts, host_of(url)):
            raise UrlRefused("The server sent the request on to a host that is not allowed for it.")
        asked = httpx2.Request(request.method, url, headers=dict(request.headers), content=request.content)
        response = await self._transport.handle_async_request(asked)
        try:
            moves = response.status_code in _MOVED and "location" in response.headers
            content = b"" if moves else b"".join([part async for part in response.stream])  # type: ignore[union-attr]
            return Inbound(
                status=response.status_code, headers=dict(response.headers), content=content, redirects=hop
            )
        finally:
            await response.aclose()


def _moved(request: Outbound, status: int, target: str) -> Outbound:
    """The request that follows a redirect. What may be secret stays with the origin it was meant for."""
    old = httpx2.URL(request.url)
    new = old.join(target).copy_with(fragment=None)
    headers = dict(request.headers)
    if _origin(old) != _origin(new):
        headers = {name: value for name, value in headers.items() if name.lower() in _HARMLESS}
    if status in _AS_GET and request.method not in ("GET", "HEAD"):
        headers = {name: value for name, value in headers.items() if name.lower() not in _ABOUT_CONTENT}
        return replace(request, method="GET", url=str(new), headers=headers, content=None)
    if _origin(old) != _origin(new) and request.content is not None:
        headers |= {name: value for name, value in request.headers.items() if name.lower() == "content-type"}
    return replace(request, url=str(new), headers=headers)


def _origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port
