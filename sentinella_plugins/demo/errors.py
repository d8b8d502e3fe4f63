"""Errors in each provider's own shape."""

from __future__ import annotations

from collections.abc import Callable
from secrets import token_hex

from .exchange import Json
from .rules import Fault

TOO_LONG = {
    "anthropic": "prompt is too long: 250000 tokens > 200000 maximum",
    "gemini": "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
    "cohere": "too many tokens: total number of tokens in the prompt cannot exceed 4081 - received 9000.",
    "mistral": "Prompt contains 60000 tokens, too large for model with 32768 maximum context length",
}
TOO_LONG_DEFAULT = (
    "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens. "
    "Please reduce the length of the messages."
)
FILTERED = "Your request was rejected as a result of the safety system (content_policy_violation)."
MESSAGES = {
    400: "The request is not valid.",
    401: "Incorrect API key provided.",
    403: "Permission denied.",
    404: "There is nothing here.",
    405: "Use POST here.",
    408: "The request timed out.",
    429: "Rate limit reached. Please slow down.",
    500: "The server had an error while processing your request.",
    503: "The service is overloaded. Please try again later.",
}
OPENAI_TYPES = {401: "authentication_error", 403: "permission_error", 429: "requests"}
ANTHROPIC_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    529: "overloaded_error",
}
GEMINI_STATUSES = {
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
CODES = {404: "not_found", 429: "rate_limit_exceeded"}


def fault_error(provider: str, fault: Fault) -> tuple[int, Json, dict[str, str]]:
    status = fault.status or 400
    message = fault.message or _message(provider, status, fault.code)
    headers = {} if fault.retry_after is None else {"retry-after": f"{fault.retry_after:g}"}
    return status, error_body(provider, status, message, fault.code), headers


def error_body(provider: str, status: int, message: str, code: str | None = None) -> Json:
    shape = _SHAPES.get(provider, _openai)
    return shape(status, message, code or CODES.get(status))


def _message(provider: str, status: int, code: str | None) -> str:
    if code == "context_length_exceeded":
        return TOO_LONG.get(provider, TOO_LONG_DEFAULT)
    if code in ("content_filter", "content_policy_violation"):
        return FILTERED
    return MESSAGES.get(status, f"The upstream answered {status}.")


def _openai_type(status: int) -> str:
    return OPENAI_TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")


def _openai(status: int, message: str, code: str | None) -> Json:
    return {"error": {"message": message, "type": _openai_type(status), "param": None, "code": code}}


def _xai(status: int, message: str, code: str | None) -> Json:
    return {"code": code or _openai_type(status), "error": message}


def _mistral(status: int, message: str, code: str | None) -> Json:
    kind = _openai_type(status)
    return {"object": "error", "message": message, "type": kind, "param": None, "code": code}


def _groq(status: int, message: str, code: str | None) -> Json:
    error = {"message": message, "type": _openai_type(status)}
    return {"error": error | ({"code": code} if code else {})}


def _anthropic(status: int, message: str, code: str | None) -> Json:
    kind = ANTHROPIC_TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")
    error = {"type": kind, "message": message}
    return {"type": "error", "error": error, "request_id": f"req_{token_hex(12)}"}


def _gemini(status: int, message: str, code: str | None) -> Json:
    name = GEMINI_STATUSES.get(status, "INTERNAL" if status >= 500 else "INVALID_ARGUMENT")
    return {"error": {"code": status, "message": message, "status": name}}


def _cohere(status: int, message: str, code: str | None) -> Json:
    return {"id": token_hex(16), "message": message}


_SHAPES: dict[str, Callable[[int, str, str | None], Json]] = {
    "xai": _xai,
    "mistral": _mistral,
    "groq": _groq,
    "anthropic": _anthropic,
    "gemini": _gemini,
    "cohere": _cohere,
}
