"""`GET /v1/router/health`."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict

from sentinella_plugins.fallback.models import Health, State
from sentinella_plugins.fallback.service import FallbackService
from sentinella_plugins.kernel.access import Guard


class ModelHealth(BaseModel):
    """Times in Unix seconds; `calls` and `error_rate` are of the last seconds, seen by this worker.
    `last_error` is a code."""

    model_config = ConfigDict(frozen=True)

    object: Literal["router.health"] = "router.health"
    model: str
    provider: str
    state: State
    reason: str | None
    since: int
    until: int | None
    error_rate: float
    calls: int
    last_error: str | None
    last_error_at: int | None


class HealthList(BaseModel):
    model_config = ConfigDict(frozen=True)

    object: Literal["list"] = "list"
    data: tuple[ModelHealth, ...]
    has_more: bool = False


def router(service: FallbackService, guard: Guard) -> APIRouter:
    api = APIRouter(prefix="/v1/router", tags=["router"], dependencies=[Depends(guard.member)])

    @api.get("/health", summary="How the models do")
    async def health() -> HealthList:
        return HealthList(data=tuple(_public(entry) for entry in service.health()))

    return api


def _public(health: Health) -> ModelHealth:
    return ModelHealth(
        model=health.model,
        provider=health.provider,
        state=health.state,
        reason=health.reason,
        since=int(health.since),
        until=None if health.until is None else int(health.until),
        error_rate=round(health.error_rate, 4),
        calls=health.calls,
        last_error=health.last_error,
        last_error_at=None if health.last_error_at is None else int(health.last_error_at),
    )
