"""Routes that belong to no room: health, and the models a key may use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse

from sentinella_plugins.app import Sentinella
from sentinella_plugins.kernel.access import Guard, may_use
from sentinella_plugins.kernel.call import Principal
from sentinella_plugins.kernel.catalogue import ModelCard
from sentinella_plugins.kernel.errors import ModelNotFound

VERSION = "0.1.0"


def router(app: Sentinella, guard: Guard) -> APIRouter:
    api = APIRouter(tags=["gateway"])

    @api.get("/health", summary="Whether the gateway and its parts work; public, asks no model")
    async def health() -> JSONResponse:
        return JSONResponse(_health(await app.storage.healthy(), app.cache.connected))

    @api.get("/v1/models", summary="The models this key may use")
    async def models(principal: Principal = Depends(guard.member)) -> dict[str, Any]:
        cards = [card for card in app.catalogue.cards() if await _allowed(app, principal, card)]
        return {"object": "list", "data": [_model(card) for card in cards], "has_more": False}

    @api.get("/v1/models/{model:path}", summary="One model")
    async def model(model: str, principal: Principal = Depends(guard.member)) -> dict[str, Any]:
        card = app.catalogue.find(model)
        if card is None or not await _allowed(app, principal, card):
            raise ModelNotFound(f"There is no model `{model}` for this key.", param="model")
        return _model(card)

    return api


async def _allowed(app: Sentinella, principal: Principal, card: ModelCard) -> bool:
    tenant = await app.tenancy.tenant(principal.tenant)
    return may_use(principal.models, tenant.models, card.name)


def _health(parts: Mapping[str, str | None], cache_connected: bool) -> dict[str, Any]:
    failed = {name: reason for name, reason in parts.items() if reason is not None}
    cache = "disconnected" if "counters" in failed or not cache_connected else "connected"
    body: dict[str, Any] = {"status": "degraded" if failed else "healthy", "cache": cache, "version": VERSION}
    reason = "; ".join(f"{name}: {why}" for name, why in failed.items())
    return {**body, "reason": reason} if failed else body


def _model(card: ModelCard) -> dict[str, Any]:
    return {
        "id": card.name,
        "object": "model",
        "created": 0,
        "owned_by": card.provider,
        "provider": card.provider,
        "mode": card.mode,
        "context_window": card.context_window,
        "max_output_tokens": card.max_output_tokens,
        "pricing": {
            "input_usd_per_million_tokens": card.input_usd_per_million,
            "output_usd_per_million_tokens": card.output_usd_per_million,
        },
        "capabilities": list(card.capabilities),
        "deprecated": card.deprecated,
        "replaced_by": card.replaced_by,
        "demo": card.demo,
    }
