"""`/v1/tools`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Depends, Query

from sentinella_plugins.kernel.access import Guard
from sentinella_plugins.kernel.call import Principal
from sentinella_plugins.tools.models import DeletedTool, ToolPage, ToolView, Trial, TrialResult
from sentinella_plugins.tools.service import ToolsService
from sentinella_plugins.tools.specs import TenantSpec

Limit = Annotated[int, Query(ge=1, le=100)]
After = Annotated[str | None, Query(max_length=64, pattern=r"^[^\x00]*$")]


def router(service: ToolsService, guard: Guard) -> APIRouter:
    api = APIRouter(prefix="/v1/tools", tags=["tools"])

    @api.post("", status_code=201, summary="Register a tool")
    async def add(body: TenantSpec, who: Principal = Depends(guard.member)) -> ToolView:
        return await service.add(who, body)

    @api.get("", summary="List the tools that this key's calls may use")
    async def page(
        limit: Limit = 20, after: After = None, who: Principal = Depends(guard.member)
    ) -> ToolPage:
        return await service.page(who, limit=limit, after=after)

    @api.get("/{name}", summary="Get a tool; its secrets are null")
    async def get(name: str, who: Principal = Depends(guard.member)) -> ToolView:
        return await service.get(who, name)

    @api.put("/{name}", summary="Replace a tool; null secrets keep what is there")
    async def change(name: str, body: TenantSpec, who: Principal = Depends(guard.member)) -> ToolView:
        return await service.change(who, name, body)

    @api.delete("/{name}", summary="Delete a tool")
    async def remove(name: str, who: Principal = Depends(guard.member)) -> DeletedTool:
        await service.remove(who, name)
        return DeletedTool(id=name)

    @api.post("/{name}/test", summary="Run a tool by hand")
    async def test(
        name: str,
        body: Annotated[Trial, Body()] = Trial(),  # noqa: B008
        who: Principal = Depends(guard.member),
    ) -> TrialResult:
        return await service.test(who, name, body.arguments)

    return api
