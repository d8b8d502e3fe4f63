"""`/v1/tenants/{tenant}/keys`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Depends, Query

from sentinella_plugins.auth.models import ApiKey, DeletedKey, IssuedKey, KeyPage, NewKey, Rotation
from sentinella_plugins.auth.service import AuthService
from sentinella_plugins.kernel.access import Guard

Limit = Annotated[int, Query(ge=1, le=100)]
After = Annotated[str | None, Query(max_length=64, pattern=r"^[^\x00]*$")]


def router(service: AuthService, guard: Guard) -> APIRouter:
    api = APIRouter(prefix="/v1/tenants/{tenant}/keys", tags=["keys"], dependencies=[Depends(guard.admin)])

    @api.post("", status_code=201, summary="Create a key")
    async def create(tenant: str, body: NewKey) -> IssuedKey:
        return await service.create(tenant, body)

    @api.get("", summary="List the keys of a tenant")
    async def page(tenant: str, limit: Limit = 20, after: After = None) -> KeyPage:
        return await service.page(tenant, limit=limit, after=after)

    @api.get("/{key_id}", summary="Get a key")
    async def get(tenant: str, key_id: str) -> ApiKey:
        return await service.get(tenant, key_id)

    @api.delete("/{key_id}", summary="Revoke a key")
    async def revoke(tenant: str, key_id: str) -> DeletedKey:
        await service.revoke(tenant, key_id)
        return DeletedKey(id=key_id)

    @api.post("/{key_id}/rotate", status_code=201, summary="Replace a key by a new one")
    async def rotate(tenant: str, key_id: str, body: Annotated[Rotation, Body()] = Rotation()) -> IssuedKey:  # noqa: B008
        return await service.rotate(tenant, key_id, body.grace_s)

    return api
