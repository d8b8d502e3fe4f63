"""Usage over HTTP."""

from __future__ import annotations

from typing import Annotated

import orjson
from fastapi import APIRouter, Depends, Header, Query, Response

from sentinella_plugins.accounting.queries import call_query, usage_query
from sentinella_plugins.accounting.reports import line_json, report_csv, report_json
from sentinella_plugins.accounting.service import AccountingService
from sentinella_plugins.kernel.access import Guard
from sentinella_plugins.kernel.call import Principal
from sentinella_plugins.kernel.clock import Clock
from sentinella_plugins.kernel.errors import BadRequest

Start = Annotated[str | None, Query(description="Unix seconds or ISO date; default: 30 days before `end`.")]
End = Annotated[
    str | None, Query(description="Unix seconds (excluded) or ISO date (included); default: now.")
]
Tenant = Annotated[str | None, Query(description="For admins: one tenant instead of all.")]
GroupBy = Annotated[str | None, Query(description="Some of day,model,key,provider (admins also tenant).")]
Format = Annotated[str | None, Query(description="`json` (default) or `csv`.")]


def router(service: AccountingService, guard: Guard, clock: Clock) -> APIRouter:
    api = APIRouter(tags=["usage"])

    @api.get("/v1/usage", summary="Usage by day, model, key")
    async def usage(
        start: Start = None,
        end: End = None,
        group_by: GroupBy = None,
        tenant: Tenant = None,
        format: Format = None,
        accept: Annotated[str, Header()] = "",
        who: Principal = Depends(guard.member),
    ) -> Response:
        as_csv = _wants_csv(format, accept)
        query = usage_query(who, clock.now(), start=start, end=end, group_by=group_by, tenant=tenant)
        report = await service.usage(query)
        if as_csv:
            return _csv(report_csv(report, query.group_by))
        return _json(report_json(report))

    @api.get("/v1/usage/calls", summary="The ledger, newest first")
    async def calls(
        start: Start = None,
        end: End = None,
        tenant: Tenant = None,
        model: Annotated[str | None, Query(description="The model that answered.")] = None,
        status: Annotated[str | None, Query(description="success, error, cancelled or abandoned.")] = None,
        after: Annotated[str | None, Query(description="`id` of the last call already seen.")] = None,
        limit: Annotated[str | None, Query(description="1 to 1000; default 20.")] = None,
        who: Principal = Depends(guard.member),
    ) -> Response:
        query = call_query(
            who,
            clock.now(),
            start=start,
            end=end,
            tenant=tenant,
            model=model,
            status=status,
            after=after,
            limit=limit,
        )
        page, has_more = await service.calls(query)
        return _json({"object": "list", "data": [line_json(line) for line in page], "has_more": has_more})

    return api


def _wants_csv(format: str | None, accept: str) -> bool:
    if format not in (None, "json", "csv"):
        raise BadRequest("`format` must be json or csv.", param="format")
    return format == "csv" or (format is None and "text/csv" in accept)


def _csv(text: str) -> Response:
    headers = {"content-disposition": 'attachment; filename="usage.csv"', "x-content-type-options": "nosniff"}
    return Response(text, media_type="text/csv", headers=headers)


def _json(content: dict[str, object]) -> Response:
    return Response(orjson.dumps(content), media_type="application/json")
