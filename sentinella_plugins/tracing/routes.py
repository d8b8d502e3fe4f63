"""What Prometheus scrapes."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Response

from sentinella_plugins.kernel.access import Guard
from sentinella_plugins.tracing.service import TracingService


def router(service: TracingService, guard: Guard) -> APIRouter:
    api = APIRouter(tags=["metrics"], dependencies=[Depends(guard.metrics)])

    @api.get("/metrics", summary="Prometheus metrics")
    async def metrics(accept: Annotated[str, Header()] = "") -> Response:
        body, content_type = await asyncio.to_thread(service.metrics.exposition, accept)
        return Response(body, headers={"content-type": content_type})

    return api
