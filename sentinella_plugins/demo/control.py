"""The pages beside the wire formats: rules, requests, counts, health, lists of models."""

from __future__ import annotations

from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from .bases import MODELS
from .errors import MESSAGES, error_body
from .exchange import Json
from .journal import KEPT, Journal
from .rules import RuleBook, parse_rule

CREATED = 1_700_000_000


def control_app(book: RuleBook, journal: Journal, brain: str) -> Starlette:
    async def rules(request: Request) -> JSONResponse:
        if request.method == "POST":
            return await _add(request, book)
        if request.method == "DELETE":
            book.clear()
        return JSONResponse({"rules": book.describe()})

    async def requests(request: Request) -> JSONResponse:
        if request.method == "DELETE":
            journal.clear()
        return JSONResponse({"requests": journal.recent(_limit(request))})

    async def counts(_: Request) -> JSONResponse:
        return JSONResponse(journal.counts())

    async def health(_: Request) -> JSONResponse:
        return JSONResponse({"status": "ok", "brain": brain})

    return Starlette(
        routes=[
            Route("/_demo/rules", rules, methods=["GET", "POST", "DELETE"]),
            Route("/_demo/requests", requests, methods=["GET", "DELETE"]),
            Route("/_demo/counts", counts),
            Route("/health", health),
            Route("/gemini/{version}/models", _gemini_models),
            Route("/{provider}/v1/models", _models),
        ],
        exception_handlers={HTTPException: _error},
    )


async def _add(request: Request, book: RuleBook) -> JSONResponse:
    try:
        rule = parse_rule(await request.body())
    except ValueError as error:
        return JSONResponse({"error": str(error)}, 400)
    return JSONResponse({"id": book.add(rule)}, 201)


def _limit(request: Request) -> int:
    text = request.query_params.get("limit", "100")
    if not text.isdecimal():
        raise HTTPException(400, "'limit' must be a whole number.")
    return min(int(text), KEPT)


async def _models(request: Request) -> JSONResponse:
    provider = request.path_params["provider"]
    if provider not in MODELS or provider == "gemini":
        raise HTTPException(404)
    if provider == "cohere":
        return JSONResponse({"models": [{"name": m, "endpoints": ["chat"]} for m in MODELS[provider]]})
    return JSONResponse(_listed(provider))


def _listed(provider: str) -> Json:
    names = MODELS[provider]
    if provider == "anthropic":
        created = "2024-01-01T00:00:00Z"
        rows = [{"type": "model", "id": m, "display_name": m, "created_at": created} for m in names]
        return {"data": rows, "has_more": False, "first_id": names[0], "last_id": names[-1]}
    common = {"object": "model", "created": CREATED, "owned_by": provider}
    return {"object": "list", "data": [{"id": m} | common for m in names]}


async def _gemini_models(_: Request) -> JSONResponse:
    methods = ["generateContent", "streamGenerateContent"]
    names = ((m, f"models/{m}") for m in MODELS["gemini"])
    rows = [{"name": n, "displayName": m, "supportedGenerationMethods": methods} for m, n in names]
    return JSONResponse({"models": rows})


async def _error(request: Request, error: Any) -> JSONResponse:
    provider = request.url.path.split("/")[1]
    detail = error.detail if error.status_code == 400 else MESSAGES.get(error.status_code, error.detail)
    return JSONResponse(error_body(provider, error.status_code, detail), error.status_code)
