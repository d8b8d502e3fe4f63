"""The short road to upstreams that speak OpenAI's wire format themselves.

LiteLLM maps the parameters and names the errors; the transport and the answer pass without its wrappers,
which cost several times as much as everything else in the gateway. It is taken only when nobody but
Sentinella listens to LiteLLM's callbacks, and for groups of one plain deployment.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
import httpx
import litellm
import orjson
from litellm.llms.custom_httpx.http_handler import get_ssl_configuration
from litellm.llms.openai.common_utils import OpenAIError
from litellm.types.utils import LlmProviders
from litellm.utils import ProviderConfigManager, get_optional_params

from sentinella_plugins.gateway.deployments import provider_of
from sentinella_plugins.gateway.sse import Events, Malformed, parse
from sentinella_plugins.kernel.call import Json

# Providers whose answers LiteLLM passes on unchanged; of the others it mends something on the way.
SHAPED = frozenset({"openai", "deepseek", "deepinfra", "together_ai", "hosted_vllm"})
_PLAIN = frozenset(
    {"model", "api_key", "api_base", "max_retries", "input_cost_per_token", "output_cost_per_token"}
)
_DEFAULT_BASES = {
    "openai": "https://api.openai.com/v1",
    "deepseek": "https://api.deepseek.com/v1",
    "deepinfra": "https://api.deepinfra.com/v1/openai",
    "together_ai": "https://api.together.xyz/v1",
}
_ERROR_BYTES = 65_536
_MAX_ANSWER_BYTES = 64 * 1024 * 1024
_NOT_FOR_UPSTREAM = ("extra_body", "max_retries", "metadata")


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds: to connect, to the first byte of the answer, between two of its parts."""

    connect_s: float
    first_byte_s: float
    idle_s: float
    total_s: float

    def for_whole_answers(self) -> Timeouts:
        """An answer that does not stream sends its first byte when all of it is there."""
        return replace(self, first_byte_s=self.total_s, idle_s=self.total_s)


def fits(params: Mapping[str, Any]) -> bool:
    """Whether this deployment can be asked by the short road."""
    plain = all(name in _PLAIN for name, value in params.items() if value not in (None, False))
    return plain and bool(params.get("api_key")) and (_base(params) is not None)


def _base(params: Mapping[str, Any]) -> str | None:
    provider = provider_of(params["model"])
    return (params.get("api_base") or _DEFAULT_BASES.get(provider)) if provider in SHAPED else None


class Pipe:
    """One pool of connections per worker. `open` needs the running loop."""

    def __init__(self, max_connections: int) -> None:
        self._max_connections = max_connections
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        connector = aiohttp.TCPConnector(limit=self._max_connections, ssl=_tls(), keepalive_timeout=30)
        self._session = aiohttp.ClientSession(connector=connector, trust_env=True, auto_decompress=True)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def complete(self, params: Mapping[str, Any], body: Json, timeouts: Timeouts) -> dict[str, Any]:
        """The provider's `chat.completion`. Raises LiteLLM's exceptions, `Malformed` or aiohttp's errors."""
        async with await self._post(params, body, timeouts) as response:
            answer = parse(await _whole(response))
        choices = answer.get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            raise _told(answer, params) or Malformed(code="upstream_malformed")
        return answer

    async def stream(
        self, params: Mapping[str, Any], body: Json, timeouts: Timeouts, max_event_bytes: int = 4_000_000
    ) -> AsyncGenerator[list[dict[str, Any]], None]:
        """The provider's chunks, those that arrived together in one list; at the true end `[]`."""
        async with await self._post(params, body, timeouts) as response:
            events = Events(max_event_bytes)
            async for data in response.content.iter_any():
                if chunks := _chunks(events.feed(data), params):
                    yield chunks
                if events.done:
                    break
            if chunks := _chunks(events.end(), params):
                yield chunks
            if events.done:
                yield []

    async def _post(
        self, params: Mapping[str, Any], body: Json, timeouts: Timeouts
    ) -> aiohttp.ClientResponse:
        if self._session is None:
            raise RuntimeError("the pipe is not open")
        url = f"{str(_base(params)).rstrip('/')}/chat/completions"
        timeout = aiohttp.ClientTimeout(
            total=None, connect=timeouts.connect_s, sock_connect=timeouts.connect_s, sock_read=timeouts.idle_s
        )
        async with asyncio.timeout(timeouts.first_byte_s):
            response = await self._session.post(
                url,
                data=orjson.dumps(await _upstream_body(params, body)),
                headers={"Authorization": f"Bearer {params['api_key']}", "Content-Type": "application/json"},
                timeout=timeout,
                allow_redirects=False,
            )
        if response.status == 200:
            return response
        async with response:
            raise _mapped(
                params, response.status, await response.content.read(_ERROR_BYTES), response.headers
            )


def _chunks(payloads: list[bytes], params: Mapping[str, Any]) -> list[dict[str, Any]]:
    chunks: list[dict[str, Any]] = [parse(payload) for payload in payloads]
    for chunk in chunks:
        told = _told(chunk, params)
        if told is not None:
            raise told
    return chunks


async def _whole(response: aiohttp.ClientResponse) -> bytes:
    data = bytearray()
    async for part in response.content.iter_any():
        data += part
        if len(data) > _MAX_ANSWER_BYTES:
            raise Malformed("The model's answer is too long.", code="upstream_malformed")
    return bytes(data)


async def _upstream_body(params: Mapping[str, Any], body: Json) -> dict[str, Any]:
    """The body as this provider wants it, by LiteLLM's own mapping of parameters and messages."""
    provider, model = params["model"].split("/", 1)
    config = ProviderConfigManager.get_provider_chat_config(model, LlmProviders(provider))
    given: dict[str, Any] = {
        name: value for name, value in body.items() if name not in ("messages", "metadata")
    }
    mapped = get_optional_params(model=model, custom_llm_provider=provider, **given)
    if config is None:
        raise RuntimeError(f"LiteLLM has no configuration for `{provider}`")
    extra = mapped.pop("extra_body", None) or {}
    made: dict[str, Any] = await config.async_transform_request(
        model=model,
        messages=list(body["messages"]),  # type: ignore[call-overload]
        optional_params=mapped,
        litellm_params={"custom_llm_provider": provider, "api_base": params.get("api_base")},
        headers={},
    )
    return {**{k: v for k, v in made.items() if k not in _NOT_FOR_UPSTREAM}, **extra}


def _told(body: Mapping[str, Any], params: Mapping[str, Any]) -> Exception | None:
    """An error that came with status 200, as some providers send it in the middle of a stream."""
    error = body.get("error")
    if not error:
        return None
    code = error.get("code") if isinstance(error, dict) else None
    status = code if isinstance(code, int) and 400 <= code < 600 else 502
    return _mapped(params, status, orjson.dumps(body), {})


def _mapped(params: Mapping[str, Any], status: int, body: bytes, headers: Mapping[str, str]) -> Exception:
    provider, model = params["model"].split("/", 1)
    text = body.decode("utf-8", "replace")
    try:
        content = orjson.loads(body)
        text = str(content["error"].get("message") or text)
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        content = None
    error = OpenAIError(
        status_code=status,
        message=text,
        response=httpx.Response(
            status, headers=dict(headers), request=httpx.Request("POST", str(_base(params)))
        ),
        headers=dict(headers),
        body=content if isinstance(content, dict) else None,
    )
    try:
        mapped: Exception = litellm.exception_type(
            model=model, original_exception=error, custom_llm_provider=provider
        )
    except Exception as raised:  # LiteLLM raises what it maps to
        return raised
    return mapped


def _tls() -> Any:
    configured = get_ssl_configuration()
    return True if isinstance(configured, str) else configured
