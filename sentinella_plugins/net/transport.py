"""One pool of guarded connections under everything that asks tenants' addresses."""

from __future__ import annotations

import logging
import ssl
from functools import cached_property

import httpcore2
import httpx2

from sentinella_plugins.net.backend import GuardedBackend, Resolve
from sentinella_plugins.net.bounded import ACCEPTED, BoundedStream
from sentinella_plugins.net.config import NetConfig
from sentinella_plugins.net.guard import Guard

_UNWRAPPED = frozenset({b"content-encoding", b"content-length"})


class GuardedTransport(httpx2.AsyncBaseTransport):
    """Checks every URL and address, decompresses, and bounds what it hands up."""

    def __init__(self, config: NetConfig, guard: Guard, resolve: Resolve, tls: ssl.SSLContext | None) -> None:
        self._config = config
        self._guard = guard
        self._resolve = resolve
        self._tls = tls
        # They log URLs and headers, which may hold a tenant's secret.
        for library in ("httpx2", "httpcore2"):
            logging.getLogger(library).setLevel(logging.WARNING)

    @cached_property
    def _pool(self) -> httpcore2.AsyncConnectionPool:
        return httpcore2.AsyncConnectionPool(
            ssl_context=self._tls or httpx2.create_ssl_context(),
            max_connections=self._config.max_connections,
            keepalive_expiry=self._config.keepalive_s,
            network_backend=GuardedBackend(self._guard, self._resolve, self._config.connect_s),
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        url = self._guard.url(str(request.url))
        request.headers["accept-encoding"] = ACCEPTED
        asked = httpcore2.Request(
            request.method,
            httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=request.stream,
            extensions={"timeout": request.extensions.get("timeout", {})},
        )
        return await self._opened(await self._pool.handle_async_request(asked))

    async def _opened(self, answer: httpcore2.Response) -> httpx2.Response:
        encodings = [value.decode("latin-1") for name, value in answer.headers if _is(name)]
        kept = [(name, value) for name, value in answer.headers if name.lower() not in _UNWRAPPED]
        try:
            stream = BoundedStream(answer, ",".join(encodings), self._config.max_response_bytes)
        except BaseException:
            await answer.aclose()
            raise
        return httpx2.Response(answer.status, headers=kept, stream=stream)

    async def aclose(self) -> None:
        if "_pool" in self.__dict__:
            await self._pool.aclose()


def _is(name: bytes) -> bool:
    return name.lower() == b"content-encoding"


class Lent(httpx2.AsyncBaseTransport):
    """The pool in the hands of a client that comes and goes: closing it closes nothing."""

    def __init__(self, transport: GuardedTransport) -> None:
        self._transport = transport

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        return await self._transport.handle_async_request(request)
