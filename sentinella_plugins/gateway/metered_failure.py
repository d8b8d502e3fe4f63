"""What went wrong on LiteLLM's own endpoints → what the client is told."""

from __future__ import annotations

import orjson

from sentinella_plugins.gateway.upstream_errors import by_status, describe, translate
from sentinella_plugins.kernel.errors import SentinellaError, UpstreamFailed

_TRANSIENT = frozenset({"upstream_error", "upstream_unavailable", "upstream_connection"})


def from_exception(error: Exception) -> SentinellaError:
    """A guardrail's or callback's own refusal keeps its status and words."""
    return translate(error, ())


def from_answer(status: int, body: bytes) -> SentinellaError:
    """For the rare answer of which LiteLLM told no exception."""
    ours, code = by_status(status)
    return UpstreamFailed(describe(Exception(_message(body))), status=ours, code=code)


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


def _message(body: bytes) -> str:
    try:
        return str(orjson.loads(body)["error"]["message"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return ""
