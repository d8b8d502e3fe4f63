"""The FastAPI application of Sentinella's own routes."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from sentinella_plugins.accounting import routes as accounting
from sentinella_plugins.api import public
from sentinella_plugins.api.guard import guard
from sentinella_plugins.api.problems import problem
from sentinella_plugins.api.public import VERSION
from sentinella_plugins.app import Sentinella
from sentinella_plugins.auth import routes as auth
from sentinella_plugins.cache import routes as cache
from sentinella_plugins.fallback import routes as fallback
from sentinella_plugins.kernel.errors import BadRequest, MethodNotAllowed, NotFound, SentinellaError
from sentinella_plugins.memory import routes as memory
from sentinella_plugins.router import routes as router
from sentinella_plugins.templates import routes as templates
from sentinella_plugins.tenancy import routes as tenancy
from sentinella_plugins.tools import routes as tools
from sentinella_plugins.tracing import routes as tracing


def build(app: Sentinella) -> FastAPI:
    api = FastAPI(
        title="Sentinella",
        version=VERSION,
        openapi_url="/sentinella/openapi.json",
        docs_url="/sentinella/docs",
        redoc_url=None,
        redirect_slashes=False,
    )
    keeper = guard(app.auth, app.settings.metrics_key)
    api.include_router(public.router(app, keeper))
    api.include_router(templates.router(app.templates, keeper))
    api.include_router(tenancy.router(app.tenancy, keeper))
    api.include_router(auth.router(app.auth, keeper))
    api.include_router(fallback.router(app.fallback, keeper))
    api.include_router(router.router(app.router, keeper, app.policy, app.clock))
    api.include_router(cache.router(app.cache, keeper))
    api.include_router(memory.router(app.memory, keeper))
    api.include_router(tools.router(app.tools, keeper))
    api.include_router(accounting.router(app.accounting, keeper, app.clock))
    api.include_router(tracing.router(app.tracing, keeper))
    api.add_exception_handler(SentinellaError, _answer)
    api.add_exception_handler(RequestValidationError, _answer)
    api.add_exception_handler(HTTPException, _answer)
    return api


async def _answer(_request: Request, error: Exception) -> JSONResponse:
    told = problem(_ours(error))
    return JSONResponse(told.body, told.status, told.headers)


def _ours(error: Exception) -> Exception:
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        # The first part says where it was looked for (`body`, `query`): the user knows the field.
        field = ".".join(str(part) for part in first["loc"][1:]) or str(first["loc"][0])
        return BadRequest(f"`{field}`: {first['msg']}.", param=field)
    if isinstance(error, HTTPException):
        return MethodNotAllowed() if error.status_code == 405 else NotFound()
    return error
