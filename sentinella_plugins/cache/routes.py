"""The cache over HTTP."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field, model_validator

from sentinella_plugins.cache.invalidation import Invalidation
from sentinella_plugins.cache.models import ErrorEstimate, Stats
from sentinella_plugins.cache.service import CacheService
from sentinella_plugins.kernel.access import TENANT_ID, Guard
from sentinella_plugins.kernel.call import Principal
from sentinella_plugins.kernel.errors import BadRequest, Forbidden
from sentinella_plugins.kernel.money import usd
from sentinella_plugins.storage.entries import Entry

Text = Annotated[str, Field(min_length=1, max_length=8_000)]
Name = Annotated[str, Field(min_length=1, max_length=256)]
Whose = Annotated[str | None, Query(description="For admins: another tenant than the key's own.")]


class Hits(BaseModel):
    model_config = ConfigDict(frozen=True)

    exact: int
    semantic: int


class Errors(BaseModel):
    """`rate` is the share of semantic hits that were wrong, with its 95 % interval; null before the first
    check. `bar` is the probability of being right that a semantic hit must have now."""

    model_config = ConfigDict(frozen=True)

    checked: int
    wrong: int
    rate: float | None
    low: float | None
    high: float | None
    bar: float


class CacheStats(BaseModel):
    """`bypassed` and `not_kept` count calls by reason; `lag_s` and `indexed` are of this worker."""

    model_config = ConfigDict(frozen=True)

    object: Literal["cache"] = "cache"
    tenant: str
    entries: int
    bytes: int
    hits: Hits
    misses: int
    hit_rate: float
    bypassed: dict[str, int]
    not_kept: dict[str, int]
    saved_usd: str
    errors: Errors
    lag_s: float
    indexed: int


class CacheEntry(BaseModel):
    """`question` is null when only the very same request finds it; `threshold` is the least score of the
    verifier with which it answers a similar one, null when none does."""

    model_config = ConfigDict(frozen=True)

    object: Literal["cache.entry"] = "cache.entry"
    id: str
    question: str | None
    model: str
    provider: str
    cost_usd: str
    tags: tuple[str, ...]
    bytes: int
    created_at: int
    expires_at: int
    threshold: float | None


class EntryList(BaseModel):
    model_config = ConfigDict(frozen=True)

    object: Literal["list"] = "list"
    data: tuple[CacheEntry, ...]
    has_more: bool


class Condition(BaseModel):
    """All that is given must fit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Name | None = None
    tag: Name | None = None
    model: Name | None = None
    older_than_s: Annotated[float, Field(ge=0)] | None = None
    similar_to: Text | None = None
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.85

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.model_fields_set - {"threshold"}:
            raise ValueError("give `id`, `tag`, `model`, `older_than_s` or `similar_to`")
        return self


class Invalidated(BaseModel):
    model_config = ConfigDict(frozen=True)

    invalidated: int


def router(service: CacheService, guard: Guard) -> APIRouter:
    api = APIRouter(prefix="/v1/cache", tags=["cache"])

    @api.get("", summary="What the cache holds and how it does")
    async def stats(tenant: Whose = None, who: Principal = Depends(guard.member)) -> CacheStats:
        whose = _whose(who, tenant)
        return _stats(whose, await service.stats(whose))

    @api.get("/entries", summary="What is kept, by id")
    async def entries(
        tenant: Whose = None,
        after: Annotated[str | None, Query(description="`id` of the last entry already seen.")] = None,
        limit: Annotated[int, Query(ge=1, le=1_000, description="Default 20.")] = 20,
        who: Principal = Depends(guard.member),
    ) -> EntryList:
        whose = _whose(who, tenant)
        page, has_more = await service.entries(whose, after, limit)
        shown = tuple(_entry(entry, service.threshold(whose, entry.id)) for entry in page)
        return EntryList(data=shown, has_more=has_more)

    @api.delete("", summary="Drop everything that is kept")
    async def clear(tenant: Whose = None, who: Principal = Depends(guard.member)) -> Invalidated:
        return Invalidated(invalidated=await service.invalidate(_whose(who, tenant), Invalidation()))

    @api.post("/invalidate", summary="Drop by id, tag, model, age or similarity to a text")
    async def invalidate(
        what: Condition, tenant: Whose = None, who: Principal = Depends(guard.member)
    ) -> Invalidated:
        wanted = Invalidation(**what.model_dump())
        return Invalidated(invalidated=await service.invalidate(_whose(who, tenant), wanted))

    return api


def _whose(who: Principal, tenant: str | None) -> str:
    if tenant is None or tenant == who.tenant:
        return who.tenant
    if who.role != "admin":
        raise Forbidden("Only an administrator's key may see another tenant's cache.")
    if not TENANT_ID.fullmatch(tenant):
        raise BadRequest("`tenant` is not an id of a tenant.", param="tenant")
    return tenant


def _stats(tenant: str, stats: Stats) -> CacheStats:
    return CacheStats(
        tenant=tenant,
        entries=stats.entries,
        bytes=stats.bytes,
        hits=Hits(exact=stats.hits_exact, semantic=stats.hits_semantic),
        misses=stats.misses,
        hit_rate=round(stats.hit_rate, 4),
        bypassed=dict(stats.bypassed),
        not_kept=dict(stats.not_kept),
        saved_usd=usd(stats.saved_nano),
        errors=_errors(stats.errors),
        lag_s=round(stats.lag_s, 3),
        indexed=stats.indexed,
    )


def _errors(errors: ErrorEstimate) -> Errors:
    def shown(share: float | None) -> float | None:
        return None if share is None else round(share, 4)

    return Errors(
        checked=errors.checked,
        wrong=errors.wrong,
        rate=shown(errors.rate),
        low=shown(errors.low),
        high=shown(errors.high),
        bar=round(errors.bar, 4),
    )


def _entry(entry: Entry, threshold: float | None) -> CacheEntry:
    return CacheEntry(
        id=entry.id,
        question=entry.question or None,
        model=entry.model,
        provider=entry.provider,
        cost_usd=usd(entry.cost),
        tags=entry.tags,
        bytes=entry.bytes,
        created_at=int(entry.created_at),
        expires_at=int(entry.expires_at),
        threshold=threshold if entry.question else None,
    )
