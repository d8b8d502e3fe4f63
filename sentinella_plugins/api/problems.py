"""Errors → HTTP, in OpenAI's shape and in Anthropic's. The only place where it is done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sentinella_plugins.kernel.errors import SentinellaError
from sentinella_plugins.kernel.secrets import mask

_ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


@dataclass(frozen=True, slots=True)
class Problem:
    status: int
    body: dict[str, Any]
    headers: dict[str, str]


def problem(error: Exception) -> Problem:
    """What the client is told. An exception that is not one of ours says nothing about its inside."""
    known = error if isinstance(error, SentinellaError) else SentinellaError()
    body: dict[str, Any] = {
        "error": {
            "message": mask(known.message),
            "type": known.type,
            "param": known.param,
            "code": known.code,
            **known.details(),
        }
    }
    return Problem(known.status, body, known.headers())


def anthropic_problem(error: Exception, request_id: str) -> Problem:
    """The same in the shape of Anthropic's API; its clients read `type` and `message`."""
    told = problem(error)
    other = "api_error" if told.status >= 500 else "invalid_request_error"
    body = {**told.body["error"], "type": _ANTHROPIC_TYPES.get(told.status, other)}
    return Problem(told.status, {"type": "error", "error": body, "request_id": request_id}, told.headers)
