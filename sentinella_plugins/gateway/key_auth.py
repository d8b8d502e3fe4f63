"""`general_settings.custom_auth`: who may use the routes that LiteLLM serves."""

from __future__ import annotations

from fastapi import Request
from litellm.proxy._types import ProxyException, UserAPIKeyAuth

from sentinella_plugins.auth.service import AuthService
from sentinella_plugins.gateway.engine import user_of
from sentinella_plugins.kernel.call import Principal
from sentinella_plugins.kernel.errors import Forbidden, SentinellaError


class KeyAuth:
    """Metered model routes come with the principal that the door found; everything else of LiteLLM's is for
    administrators, because LiteLLM itself does not keep tenants apart there."""

    def __init__(self, auth: AuthService) -> None:
        self._auth = auth

    async def __call__(self, request: Request, api_key: str | None) -> UserAPIKeyAuth:
        try:
            return user_of(request.scope.get("sentinella.principal") or await self._administrator(api_key))
        except SentinellaError as error:
            raise ProxyException(
                message=error.message,
                type=error.type,
                param=error.param,
                code=error.status,
                openai_code=error.code,
            ) from None

    async def _administrator(self, api_key: str | None) -> Principal:
        principal = await self._auth.authenticate(api_key)
        if principal.role != "admin":
            raise Forbidden("This route of the proxy needs an administrator's key.")
        return principal
