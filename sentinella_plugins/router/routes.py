"""`/v1/router/explain`, `/v1/router/stats`, `/v1/router/calibrate` and `/v1/feedback`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Annotated, Any, Literal, Self

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field, model_validator

from sentinella_plugins.kernel.access import AUTO, TENANT_ID, Guard, Name
from sentinella_plugins.kernel.call import Call, Options, Principal
from sentinella_plugins.kernel.clock import Clock
from sentinella_plugins.kernel.errors import Forbidden
from sentinella_plugins.kernel.ids import new_id
from sentinella_plugins.router.config import Objective
from sentinella_plugins.router.models import Policy
from sentinella_plugins.router.service import RouterService
from sentinella_plugins.router.teacher import Row

CHAT = "/v1/chat/completions"
RequestId = Annotated[str, Query(min_length=1, max_length=64, pattern=r"^[^\x00]*$")]
Policies = Callable[[Call], Awaitable[Policy]]


class Wishes(BaseModel):
    """The field `routing` of a chat request."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_cost_usd: Annotated[float, Field(ge=0)] | None = None
    max_latency_ms: Annotated[float, Field(ge=0)] | None = None
    min_quality: Annotated[float, Field(ge=0, le=1)] | None = None
    providers: Annotated[list[Name], Field(max_length=100)] | None = None
    exclude: Annotated[list[Name], Field(max_length=100)] | None = None
    objective: Objective | None = None


class DryRun(BaseModel):
    """A chat request, of which only the choice of its model is made."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    messages: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=10_000)]
    routing: Wishes = Wishes()
    tools: Annotated[list[dict[str, Any]], Field(max_length=1_000)] | None = None
    response_format: dict[str, Any] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    stream: bool = False


class Feedback(BaseModel):
    """Either `score` (0 to 1) or `thumbs`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    request_id: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\x00]*$")]
    score: Annotated[float, Field(ge=0, le=1)] | None = None
    thumbs: Literal["up", "down"] | None = None
    comment: Annotated[str, Field(max_length=2_000, pattern=r"^[^\x00]*$")] = ""

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.score is None) == (self.thumbs is None):
            raise ValueError("give either `score` or `thumbs`")
        return self

    @property
    def value(self) -> float:
        return self.score if self.score is not None else float(self.thumbs == "up")


class FeedbackTaken(BaseModel):
    model_config = ConfigDict(frozen=True)

    object: Literal["feedback"] = "feedback"
    request_id: str
    model: str
    score: float


class Result(BaseModel):
    """How well a model answered a prompt."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: Annotated[str, Field(min_length=1, max_length=1_000_000)]
    model: Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[^\x00]*$")]
    score: Annotated[float, Field(ge=0, le=1)]


class Calibration(BaseModel):
    """`tenant` is for admins; everybody else calibrates their own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: Annotated[list[Result], Field(min_length=1, max_length=100_000)]
    tenant: Annotated[str, Field(pattern=rf"^{TENANT_ID.pattern}$")] | None = None


class CalibratedModel(BaseModel):
    model_config = ConfigDict(frozen=True)

    model: str
    rows: int
    mean_score: float


class CalibrationResult(BaseModel):
    model_config = ConfigDict(frozen=True)

    object: Literal["router.calibration"] = "router.calibration"
    tenant: str
    rows: int
    models: tuple[CalibratedModel, ...]
    unknown_models: tuple[str, ...]


def router(service: RouterService, guard: Guard, policy: Policies, clock: Clock) -> APIRouter:
    """`policy` as for the stage."""
    api = APIRouter(tags=["router"])

    @api.get("/v1/router/explain", summary="Why a call went to its model")
    async def explain(request_id: RequestId, who: Principal = Depends(guard.member)) -> dict[str, Any]:
        return dict(await service.explain(who, request_id))

    @api.post("/v1/router/explain", summary="Which model a call would go to")
    async def dry_run(body: DryRun, who: Principal = Depends(guard.member)) -> dict[str, Any]:
        call = _call(body, who, clock)
        return dict(await service.dry_run(call, await policy(call)))

    @api.get("/v1/router/stats", summary="What the router learned")
    async def stats(who: Principal = Depends(guard.member)) -> dict[str, Any]:
        return service.stats(who)

    @api.post("/v1/router/calibrate", summary="Learn from your own results")
    async def calibrate(body: Calibration, who: Principal = Depends(guard.member)) -> CalibrationResult:
        tenant = _whose(who, body.tenant)
        done = await service.calibrate(tenant, [Row(row.prompt, row.model, row.score) for row in body.rows])
        return CalibrationResult(
            tenant=tenant,
            rows=done.rows,
            models=tuple(
                CalibratedModel(model=name, rows=rows, mean_score=round(mean, 4))
                for name, (rows, mean) in done.models.items()
            ),
            unknown_models=done.unknown,
        )

    @api.post("/v1/feedback", status_code=201, summary="Say how good an answer was")
    async def feedback(body: Feedback, who: Principal = Depends(guard.member)) -> FeedbackTaken:
        model = await service.feedback(who, body.request_id, body.value, body.comment)
        return FeedbackTaken(request_id=body.request_id, model=model, score=body.value)

    return api


def _whose(who: Principal, tenant: str | None) -> str:
    if tenant is None or tenant == who.tenant:
        return who.tenant
    if who.role != "admin":
        raise Forbidden("Only an administrator's key may calibrate another tenant.")
    return tenant


def _call(body: DryRun, who: Principal, clock: Clock) -> Call:
    given = body.model_dump(exclude_none=True, exclude={"routing", "stream"})
    return Call(
        id=new_id("req"),
        route=CHAT,
        model=AUTO,
        body=given,
        options=Options(routing=body.routing.model_dump(exclude_none=True)),
        stream=body.stream,
        principal=who,
        received_at=clock.now(),
        started=perf_counter(),
    )
