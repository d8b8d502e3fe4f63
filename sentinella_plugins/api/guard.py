"""Who may use a route."""

from __future__ import annotations

from fastapi import Request
from pydantic import SecretStr

from sentinella_plugins.auth.service import AuthService
from sentinella_plugins.kernel.access import Guard
from sentinella_plugins.kernel.call import Principal
from sentinella_plugins.kernel.errors import Forbidden
from sentinella_plugins.kernel.secrets import same


def credential_of(authorization: str | None, x_api_key: str | None) -> str | None:
    """The key of `Authorization: Bearer <key>` or `X-API-Key: <key>`; the first wins."""
    if authorization:
        scheme, _, key = authorization.partition(" ")
        return key.strip() if scheme.lower() == "bearer" else authorization.strip()
    return x_api_key.strip() if x_api_key else None


def guard(auth: AuthService, metrics_key: SecretStr | None) -> Guard:
    async def member(request: Request) -> Principal:
        return await auth.authenticate(_credential(request))

    async def admin(request: Request) -> Principal:
        principal = await member(request)
        if principal.role != "admin":
            raise Forbidden("This route needs an administrator's key.")
        return principal

    async def metrics(request: Request) -> Principal:
        key = _credential(request)
        if metrics_key and key and same(key, metrics_key.get_secret_value()):
            return Principal(tenant="", key_id="metrics")
        return await admin(request)

    return Guard(member=member, admin=admin, metrics=metrics)


def _credential(request: Request) -> str | None:
    return credential_of(request.headers.get("authorization"), request.headers.get("x-api-key"))
