"""LiteLLM's exceptions → what the client is told about its upstream."""

from __future__ import annotations

import asyncio
import re

import aiohttp
import httpx
from fastapi import HTTPException
from litellm import exceptions as llm
from litellm.proxy._types import ProxyException
from litellm.types.router import RouterRateLimitError

from sentinella_plugins.kernel.call import Attempt
from sentinella_plugins.kernel.errors import SentinellaError, UpstreamFailed
from sentinella_plugins.kernel.secrets import mask

_PREFIXES = re.compile(r"^((litellm\.)?\w*(Error|Exception)\b\s*[-:]*\s*)+")
_TOLD = re.compile(r"""["']message["']:\s*(?:"((?:[^"\\]|\\.)+)|'((?:[^'\\]|\\.)+))""")
_ADVICE = re.compile(r"\s*Handle with `[^`]*`\.?")
_FAILED = "The model's provider failed."
_LONGEST = 600

# (exception, status, code): the first match counts, so the narrow ones come first.
_BY_KIND: tuple[tuple[type[BaseException], int, str], ...] = (
    (llm.ContextWindowExceededError, 400, "context_length_exceeded"),
    (llm.ContentPolicyViolationError, 400, "content_filter"),
    (llm.UnsupportedParamsError, 400, "unsupported_parameter"),
    (RouterRateLimitError, 503, "upstream_cooling_down"),
    (llm.Timeout, 504, "upstream_timeout"),
    (TimeoutError, 504, "upstream_timeout"),
    (aiohttp.ClientError, 502, "upstream_connection"),
    (httpx.HTTPError, 502, "upstream_connection"),
    (ConnectionError, 502, "upstream_connection"),
    (llm.APIConnectionError, 502, "upstream_connection"),
)
_BY_STATUS = {
    401: (502, "upstream_authentication"),
    402: (502, "upstream_permission"),
    403: (502, "upstream_permission"),
    404: (502, "upstream_model_not_found"),
    408: (504, "upstream_timeout"),
    413: (400, "context_length_exceeded"),
    429: (503, "upstream_rate_limited"),
    503: (503, "upstream_unavailable"),
    504: (504, "upstream_timeout"),
    529: (503, "upstream_unavailable"),
}
# Several providers say these two only in words, and LiteLLM does not know all of their words.
_TOO_LONG = re.compile(
    r"context.{0,20}(length|window|size)|(too (long|large)|exceed\w*|maximum).{0,40}(token|context|prompt)"
    r"|prompt is too long",
    re.IGNORECASE,
)
_FILTERED = re.compile(
    r"content.{0,12}(filter|policy|management)|safety (system|filter)|content_filter", re.IGNORECASE
)


def classify(error: BaseException) -> tuple[int, str]:
    """HTTP status and code of what went wrong with an attempt."""
    if isinstance(error, SentinellaError):
        return error.status, error.code
    if isinstance(error, HTTPException | ProxyException):
        return _status(error), "request_refused"
    for kind, status, code in _BY_KIND:
        if isinstance(error, kind):
            return status, code
    status, code = by_status(_upstream_status(error))
    if code == "upstream_rejected_request":
        return status, _in_words(str(error)) or code
    return status, code


def by_status(upstream: int) -> tuple[int, str]:
    """HTTP status and code for the client, where of the upstream's failure only its status is known."""
    otherwise = (400, "upstream_rejected_request") if 400 <= upstream < 500 else (502, "upstream_error")
    return _BY_STATUS.get(upstream, otherwise)


def _in_words(text: str) -> str | None:
    if _TOO_LONG.search(text):
        return "context_length_exceeded"
    return "content_filter" if _FILTERED.search(text) else None


def _upstream_status(error: BaseException) -> int:
    status = getattr(error, "status_code", None)
    return status if isinstance(status, int) else 502


def translate(error: Exception, attempts: tuple[Attempt, ...]) -> SentinellaError:
    """What to raise for a failed call. A guardrail's or callback's own refusal keeps its status and words."""
    if isinstance(error, SentinellaError) and not isinstance(error, UpstreamFailed):
        return error
    status, code = classify(error)
    return UpstreamFailed(
        _refusal(error) if code == "request_refused" else describe(error),
        status=status,
        code=code,
        attempts=[attempt.public() for attempt in attempts],
        retry_after=retry_after(error) or (1 if status == 503 else None),
    )


def describe(error: BaseException) -> str:
    """One line without secrets, class names and traces."""
    if isinstance(error, TimeoutError | asyncio.TimeoutError):
        return "The model did not answer in time."
    if isinstance(error, aiohttp.ClientError):
        return "The connection to the model's provider failed."
    if isinstance(error, RouterRateLimitError):
        return "The model's provider failed just now and is given a rest. Retry shortly."
    # What LiteLLM adds (its fallbacks, its documentation, the model group) stands in lines of its own.
    text = str(getattr(error, "message", None) or error).strip().split("\n", 1)[0]
    text = _own_words(mask(_PREFIXES.sub("", text))) or _FAILED
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "..."


def _own_words(text: str) -> str:
    """The provider's own words out of the JSON that LiteLLM quotes."""
    found = _TOLD.search(text)
    text = (found[1] or found[2]).replace("\\", "") if found else _ADVICE.sub("", text)
    return _FAILED if "litellm" in text.lower() else text


def retry_after(error: BaseException) -> int | None:
    """Seconds that the upstream asked to wait, where it did."""
    response = getattr(error, "response", None)
    for headers in (getattr(response, "headers", None), getattr(error, "litellm_response_headers", None)):
        given = headers.get("retry-after") if headers else None
        if given and re.fullmatch(r"\d{1,5}", given):
            return int(given)
    return None


def _status(error: HTTPException | ProxyException) -> int:
    given = str(getattr(error, "status_code", None) or getattr(error, "code", None) or 400)
    return int(given) if given.isdigit() else 400


def _refusal(error: Exception) -> str:
    detail = getattr(error, "detail", None) or getattr(error, "message", None)
    for name in ("error", "message"):
        if isinstance(detail, dict):
            detail = detail.get(name) or detail
    return mask(str(detail))
