"""What an error code means for the call, and for the health of the model that gave it."""

from __future__ import annotations

from typing import Literal

from sentinella_plugins.fallback.models import Failure

Verdict = Literal["stop", "next", "never_again", "longer_window"]
Sign = Literal["well", "ill", "none"]

_REJECTED = frozenset({"upstream_rejected_request", "unsupported_parameter"})
_NEVER_AGAIN = frozenset({"upstream_authentication", "upstream_permission", "upstream_model_not_found"})
_ANSWERED = _REJECTED | {"content_filter", "context_length_exceeded"}
_NOT_THE_MODEL = frozenset({"request_refused", "client_closed_request", "cancelled", "unavailable"})
_TRANSIENT_4XX = frozenset({408, 425, 429})


def verdict(failure: Failure) -> Verdict:
    if failure.code == "context_length_exceeded":
        return "longer_window"
    if failure.code in _NEVER_AGAIN:
        return "never_again"
    if failure.code in _ANSWERED or failure.code in _NOT_THE_MODEL:
        return "stop"
    if failure.code.startswith(("upstream_", "stream_")):
        return "next"
    refused = 400 <= failure.status < 500 and failure.status not in _TRANSIENT_4XX
    return "stop" if refused else "next"


def is_rejection(failure: Failure) -> bool:
    """Whether the model answers but does not accept the request as it stands."""
    return failure.code in _REJECTED


def sign(ok: bool, code: str | None) -> Sign:
    """A model that refuses a wrong request is well."""
    if ok or code in _ANSWERED:
        return "well"
    return "none" if code in _NOT_THE_MODEL else "ill"
