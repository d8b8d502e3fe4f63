"""The first stage of the corridor: a credential comes in, a principal goes on."""

from __future__ import annotations

from sentinella_plugins.auth.service import AuthService
from sentinella_plugins.kernel.call import Call


class AuthStage:
    def __init__(self, service: AuthService) -> None:
        self._service = service

    async def enter(self, call: Call) -> Call:
        credential = None if call.credential is None else call.credential.reveal()
        return call.evolve(principal=await self._service.authenticate(credential), credential=None)
