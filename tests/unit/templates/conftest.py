"""A house with templates: a real database, and the routes as the gateway has them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy import insert

from sentinella_plugins.kernel.access import Guard
from sentinella_plugins.kernel.call import Call, Options, Principal
from sentinella_plugins.kernel.clock import ManualClock
from sentinella_plugins.kernel.errors import SentinellaError
from sentinella_plugins.kernel.events import Events, PartFailed
from sentinella_plugins.storage.database import Database
from sentinella_plugins.storage.tables import tenants
from sentinella_plugins.templates.config import TemplatesConfig
from sentinella_plugins.templates.models import NewTemplate
from sentinella_plugins.templates.routes import router
from sentinella_plugins.templates.service import TemplatesService

GREETING = {
    "name": "greeting",
    "template": "Hello {name}, welcome to {company}!",
    "variables": ["name", "company"],
}


@dataclass
class House:
    service: TemplatesService
    database: Database
    clock: ManualClock
    failed: list[PartFailed] = field(default_factory=list)

    async def make(self, **fields: Any) -> str:
        """The id of a new template of `acme`."""
        head, _ = await self.service.create("acme", NewTemplate.model_validate({**GREETING, **fields}))
        return head.id

    def client(self, tenant: str = "acme") -> httpx.AsyncClient:
        transport = httpx.ASGITransport(street(self.service))
        headers = {"x-tenant": tenant}
        return httpx.AsyncClient(transport=transport, base_url="http://gateway", headers=headers)


def call(template: Any, tenant: str = "acme", number: int = 1, **body: Any) -> Call:
    return Call(
        id=f"req_{number}",
        route="/v1/chat/completions",
        model="m",
        body=body,
        options=Options(template=template),
        principal=Principal(tenant=tenant, key_id="key_1"),
        received_at=0.0,
        started=0.0,
    )


@asynccontextmanager
async def house(place: Path, **config: Any) -> AsyncIterator[House]:
    clock, events = ManualClock(), Events()
    database = Database(f"sqlite:///{place / 'templates.db'}", clock=clock, timeout_s=2.0)
    await database.open()
    rows = [
        {"id": name, "document": "{}", "created_at": 0.0, "updated_at": 0.0} for name in ("acme", "other")
    ]
    await database.write(lambda connection: connection.execute(insert(tenants), rows).close())
    settings = TemplatesConfig(**{"folder": None, "default_tenant": "acme", "render_timeout_s": 5, **config})
    service = TemplatesService(database, events, clock, settings)
    found = House(service, database, clock)

    async def note(event: PartFailed) -> None:
        found.failed.append(event)

    events.subscribe(PartFailed, note)
    try:
        yield found
        await service.close()
    finally:
        await database.close()


def street(service: TemplatesService, tenant: str | None = None) -> FastAPI:
    """The routes, for the tenant of the header or always for this one."""

    async def member(request: Request) -> Principal:
        return Principal(tenant=tenant or request.headers["x-tenant"], key_id="key_1")

    app = FastAPI()
    app.include_router(router(service, Guard(member=member, admin=member, metrics=member)))

    @app.exception_handler(SentinellaError)
    async def refuse(_request: Request, error: SentinellaError) -> JSONResponse:
        told = {"code": error.code, "message": error.message, "param": error.param}
        return JSONResponse({"error": told}, error.status)

    @app.exception_handler(RequestValidationError)
    async def explain(_request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        return JSONResponse({"error": {"message": first["msg"], "param": str(first["loc"][-1])}}, 400)

    return app
