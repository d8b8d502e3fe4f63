"""Everything that can go wrong, drawn as a tree. A class docstring is its default message and says what to do
next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from sentinella_plugins.kernel.standing import Standing


class SentinellaError(Exception):
    """Something broke inside the gateway. Retry; if it stays, give the request id to your administrator."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    type: ClassVar[str] = "api_error"

    def __init__(self, message: str | None = None, *, param: str | None = None) -> None:
        super().__init__(message or self.__doc__ or self.code)
        self.param = param

    @property
    def message(self) -> str:
        return str(self)

    def headers(self) -> dict[str, str]:
        return {}

    def details(self) -> Mapping[str, object]:
        """Fields of the error body beyond OpenAI's four."""
        return {}


class BadRequest(SentinellaError):
    """The request is malformed."""

    status = 400
    code = "invalid_request"
    type = "invalid_request_error"


class Unauthenticated(SentinellaError):
    """No valid API key was given. Send `Authorization: Bearer <key>` or `X-API-Key: <key>`."""

    status = 401
    code = "invalid_api_key"
    type = "authentication_error"


class Forbidden(SentinellaError):
    """This key may not do that. Ask your administrator for a key with the right role."""

    status = 403
    code = "forbidden"
    type = "permission_error"


class ModelForbidden(Forbidden):
    """This key may not use that model. `GET /v1/models` lists what it may use."""

    code = "model_not_allowed"


class NotFound(SentinellaError):
    """There is no such thing, or it is not yours."""

    status = 404
    code = "not_found"
    type = "invalid_request_error"


class ModelNotFound(NotFound):
    """There is no such model here. `GET /v1/models` lists what this key may use."""

    code = "model_not_found"


class MethodNotAllowed(SentinellaError):
    """This path does not know that method."""

    status = 405
    code = "method_not_allowed"
    type = "invalid_request_error"


class Conflict(SentinellaError):
    """Something of that name exists already."""

    status = 409
    code = "conflict"
    type = "invalid_request_error"


class RequestTimeout(SentinellaError):
    """The rest of the request did not arrive in time."""

    status = 408
    code = "request_timeout"
    type = "invalid_request_error"


class TooLarge(SentinellaError):
    """The request is larger than this gateway accepts."""

    status = 413
    code = "request_too_large"
    type = "invalid_request_error"


class HeadersTooLarge(SentinellaError):
    """The request has more headers than this gateway accepts."""

    status = 431
    code = "headers_too_large"
    type = "invalid_request_error"


class Unprocessable(SentinellaError):
    """The request is well-formed but cannot be carried out."""

    status = 422
    code = "unprocessable"
    type = "invalid_request_error"


class LimitExceeded(SentinellaError):
    """A limit of this tenant or key is reached. Wait for the reset or ask your administrator for a higher
    limit."""

    status = 429
    code = "rate_limit"
    type = "rate_limit_error"

    def __init__(
        self,
        message: str,
        *,
        code: str,
        scope: str,
        limit: str,
        used: str,
        resets_at: float,
        retry_after: int,
        standing: Standing,
    ) -> None:
        super().__init__(message)
        self.code = code  # type: ignore[misc]  # one class for six limits: the code names which
        self.scope = scope
        self.limit = limit
        self.used = used
        self.resets_at = resets_at
        self.retry_after = retry_after
        self.standing = standing

    def headers(self) -> dict[str, str]:
        return {**self.standing.headers(), "retry-after": str(self.retry_after)}

    def details(self) -> Mapping[str, object]:
        return {"limit": self.limit, "used": self.used, "scope": self.scope, "resets_at": int(self.resets_at)}


class UpstreamFailed(SentinellaError):
    """No model answered. `error.attempts` tells what was tried."""

    status = 502
    code = "upstream_failed"
    type = "upstream_error"

    def __init__(
        self,
        message: str | None = None,
        *,
        status: int = 502,
        code: str = "upstream_failed",
        attempts: Sequence[Mapping[str, object]] = (),
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status  # type: ignore[misc]  # the upstream's own verdict decides
        self.code = code  # type: ignore[misc]
        if status < 500:
            self.type = "invalid_request_error"  # type: ignore[misc]
        self.attempts = tuple(attempts)
        self.retry_after = retry_after

    def headers(self) -> dict[str, str]:
        return {} if self.retry_after is None else {"retry-after": str(self.retry_after)}

    def details(self) -> Mapping[str, object]:
        return {"attempts": list(self.attempts)}


class Unavailable(SentinellaError):
    """A part of the gateway that this request needs is down. Retry shortly."""

    status = 503
    code = "unavailable"
    type = "api_error"

    def headers(self) -> dict[str, str]:
        return {"retry-after": "1"}


class ClientGone(SentinellaError):
    """The client closed the connection before the answer was complete."""

    status = 499
    code = "client_closed_request"
    type = "invalid_request_error"


class SettingsError(SentinellaError):
    """The settings are wrong. Run `sentinella doctor`."""

    code = "settings"
