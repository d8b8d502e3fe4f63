"""What went wrong on LiteLLM's own endpoints → what the client is told."""

from __future__ import annotations

import re

import orjson

from sentinella_plugins.gateway.upstream_errors import describe, translate
from sentinella_plugins.kernel.errors import SentinellaError, UpstreamFailed

# For the rare answer of which LiteLLM told no exception.
_BY_STATUS = {
    401: (502, "upstream_authentication"),
    403: (502, "upstream_permission"),
    404: (502, "upstream_model_not_found"),
    408: (504, "upstream_timeout"),
    429: (503, "upstream_rate_limited"),
    503: (503, "upstream_unavailable"),
    504: (504, "upstream_timeout"),
}
_TRANSIENT = frozenset({"upstream_error", "upstream_unavailable", "upstream_connection"})
_TOLD = re.compile(r"""["']message["']:\s*(?:"((?:[^"\\]|\\.)+)|'((?:[^'\\]|\\.)+))""")
_ADVICE = re.compile(r"\s*Handle with `[^`]*`\.?")


def from_exception(error: Exception) -> SentinellaError:
    """A guardrail's or callback's own refusal keeps its status and words."""
    found = translate(error, ())
    if not isinstance(found, UpstreamFailed) or found.code == "request_refused":
        return found
    return UpstreamFailed(
        plain(found.message), status=found.status, code=found.code, retry_after=found.retry_after
    )


def from_answer(status: int, body: bytes) -> SentinellaError:
    ours, code = _BY_STATUS.get(status) or (
        (400, "upstream_rejected_request") if status < 500 else (502, "upstream_error")
    )
    return UpstreamFailed(plain(describe(Exception(_message(body)))), status=ours, code=code)


def interrupted() -> UpstreamFailed:
    return UpstreamFailed(
        "The model's answer broke off before it was complete.", status=502, code="stream_interrupted"
    )


def told_with(error: SentinellaError, attempts: list[dict[str, object]]) -> SentinellaError:
    if isinstance(error, UpstreamFailed):
        error.attempts = tuple(attempts)
        error.retry_after = error.retry_after or (1 if error.status == 503 else None)
    return error


def may_pass(error: SentinellaError) -> bool:
    """Whether the same model may well answer at a second try."""
    return error.code in _TRANSIENT


def plain(text: str) -> str:
    """The provider's own words out of the JSON that LiteLLM quotes."""
    found = _TOLD.search(text)
    text = (found[1] or found[2]).replace("\\", "") if found else _ADVICE.sub("", text)
    return "The model's provider failed." if "litellm" in text.lower() else text


def _message(body: bytes) -> str:
    try:
        return str(orjson.loads(body)["error"]["message"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return ""
