"""HTTP for the `mcp` library: what fails for one request must not end the session of all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

import httpx2
import orjson

from sentinella_plugins.kernel.errors import SentinellaError
from sentinella_plugins.net.client import GuardedClient

_SERVER_ERROR = -32_000


def mcp_client(client: GuardedClient, headers: Mapping[str, str], idle_s: float) -> httpx2.AsyncClient:
    """The deadline of each call is set by its caller; `idle_s` ends streams that nobody waits for."""
    return httpx2.AsyncClient(
        transport=_Forgiving(client.lend()), headers=dict(headers), timeout=idle_s, trust_env=False
    )


class _Forgiving(httpx2.AsyncBaseTransport):
    """Tells failures in JSON-RPC's words: the library hands them to the one who asked."""

    def __init__(self, inner: httpx2.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        try:
            answer = await self._inner.handle_async_request(request)
        except SentinellaError as error:
            return _refusal(error.message)
        except Exception as error:
            return _refusal(f"The server could not be reached ({type(error).__name__}).")
        return httpx2.Response(answer.status_code, headers=answer.headers, stream=_Body(answer))


class _Body(httpx2.AsyncByteStream):
    def __init__(self, answer: httpx2.Response) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for part in self._answer.aiter_raw():
                yield part
        except SentinellaError as error:
            raise httpx2.StreamError(error.message) from None
        except Exception as error:
            raise httpx2.StreamError(f"The server broke off ({type(error).__name__}).") from None

    async def aclose(self) -> None:
        await self._answer.aclose()


def _refusal(message: str) -> httpx2.Response:
    error = {"jsonrpc": "2.0", "id": None, "error": {"code": _SERVER_ERROR, "message": message}}
    headers = {"content-type": "application/json"}
    return httpx2.Response(502, headers=headers, content=orjson.dumps(error))
