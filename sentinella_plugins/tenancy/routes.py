"""`/v1/tenants`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from sentinella_plugins.kernel.access import Guard
from sentinella_plugins.tenancy.models import DeletedTenant, NewTenant, Tenant, TenantPage, TenantPatch
from sentinella_plugins.tenancy.service import TenancyService

Limit = Annotated[int, Query(ge=1, le=100)]
After = Annotated[str | None, Query(max_length=64, pattern=r"^[^\x00]*$")]


def router(service: TenancyService, guard: Guard) -> APIRouter:
    api = APIRouter(prefix="/v1/tenants", tags=["tenants"], dependencies=[Depends(guard.admin)])

    @api.post("", status_code=201, summary="Create a tenant")
    async def create(body: NewTenant) -> Tenant:
        return await service.create(body)

    @api.get("", summary="List tenants")
    async def page(limit: Limit = 20, after: After = None) -> TenantPage:
        return await service.page(limit=limit, after=after)

    @api.get("/{tenant}", summary="Get a tenant")
    async def get(tenant: str) -> Tenant:
        return await service.tenant(tenant)

    @api.patch("/{tenant}", summary="Change a tenant")
    async def change(tenant: str, body: TenantPatch) -> Tenant:
        return await service.change(tenant, body)

    @api.delete("/{tenant}", summary="Delete a tenant and its keys")
    async def delete(tenant: str) -> DeletedTenant:
        await service.delete(tenant)
        return DeletedTenant(id=tenant)

    return api
