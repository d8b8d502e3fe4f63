"""`/v1/sessions`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Literal

import orjson
from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import StreamingResponse

from sentinella_plugins.kernel.access import Guard
from sentinella_plugins.kernel.call import Json, Principal
from sentinella_plugins.kernel.errors import BadRequest
from sentinella_plugins.memory.library import Library
from sentinella_plugins.memory.models import Head
from sentinella_plugins.memory.public import message_json, session_json
from sentinella_plugins.memory.service import MemoryService

_ONE = "/{session_id:path}"
Limit = Annotated[int, Query(ge=1, le=100)]
AfterSession = Annotated[str | None, Query(max_length=128, description="`id` of the last session seen.")]
AfterMessage = Annotated[str | None, Query(max_length=32, description="`id` of the last message seen.")]
Order = Annotated[Literal["asc", "desc"], Query(description="Oldest or newest first.")]
Tenant = Annotated[str | None, Query(max_length=64, description="For admins: another tenant.")]
Confirm = Annotated[bool, Query(description="`true`, or nothing is deleted.")]
Format = Annotated[Literal["jsonl", "json"], Query(description="JSON lines, or one object.")]


def router(service: MemoryService, guard: Guard) -> APIRouter:
    api = APIRouter(prefix="/v1/sessions", tags=["sessions"])
    library = service.library

    @api.get("", summary="List sessions, newest first")
    async def page(
        limit: Limit = 20,
        after: AfterSession = None,
        tenant: Tenant = None,
        who: Principal = Depends(guard.member),
    ) -> Response:
        heads, more = await library.page(library.shelf(who, tenant), limit, after)
        return _list([session_json(head) for head in heads], more)

    @api.delete("", summary="Delete all sessions of the tenant")
    async def delete_all(
        confirm: Confirm = False, tenant: Tenant = None, who: Principal = Depends(guard.member)
    ) -> Response:
        if not confirm:
            raise BadRequest("This deletes every session. Say `?confirm=true`.", param="confirm")
        gone = await library.delete_all(library.shelf(who, tenant))
        return _json({"object": "sessions.deleted", "deleted": True, "count": gone})

    _add_content(api, library, guard)

    @api.get(_ONE, summary="A session")
    async def get(session_id: str, tenant: Tenant = None, who: Principal = Depends(guard.member)) -> Response:
        return _json(session_json(await library.get(library.shelf(who, tenant), session_id)))

    @api.delete(_ONE, summary="Delete a session")
    async def delete(
        session_id: str, tenant: Tenant = None, who: Principal = Depends(guard.member)
    ) -> Response:
        await library.delete(library.shelf(who, tenant), session_id)
        return _json({"id": session_id, "object": "session.deleted", "deleted": True})

    return api


def _add_content(api: APIRouter, library: Library, guard: Guard) -> None:
    @api.get(f"{_ONE}/messages", summary="Messages of a session")
    async def messages(
        session_id: str,
        limit: Limit = 20,
        after: AfterMessage = None,
        order: Order = "asc",
        tenant: Tenant = None,
        who: Principal = Depends(guard.member),
    ) -> Response:
        head = await library.get(library.shelf(who, tenant), session_id)
        found, more = await library.messages(head, limit, after, order)
        return _list([message_json(head, message) for message in found], more)

    @api.get(f"{_ONE}/export", summary="A whole session")
    async def export(
        session_id: str,
        format: Format = "jsonl",
        tenant: Tenant = None,
        who: Principal = Depends(guard.member),
    ) -> Response:
        head = await library.get(library.shelf(who, tenant), session_id)
        if format == "json":
            return StreamingResponse(_object(library, head), media_type="application/json")
        return StreamingResponse(_lines(library, head), media_type="application/x-ndjson")

    @api.post(f"{_ONE}/summarise", summary="Summarise all but the last messages now")
    async def summarise(
        session_id: str, tenant: Tenant = None, who: Principal = Depends(guard.member)
    ) -> Response:
        head = await library.summarise(library.shelf(who, tenant), session_id, who)
        return _json(session_json(head))


async def _lines(library: Library, head: Head) -> AsyncIterator[bytes]:
    yield orjson.dumps(session_json(head)) + b"\n"
    async for page in library.everything(head):
        yield b"".join(orjson.dumps(message_json(head, message)) + b"\n" for message in page)


async def _object(library: Library, head: Head) -> AsyncIterator[bytes]:
    yield orjson.dumps({**session_json(head), "object": "session.export"})[:-1] + b',"data":['
    between = b""
    async for page in library.everything(head):
        yield between + b",".join(orjson.dumps(message_json(head, message)) for message in page)
        between = b","
    yield b"]}"


def _list(data: list[Json], has_more: bool) -> Response:
    return _json({"object": "list", "data": data, "has_more": has_more})


def _json(content: Json) -> Response:
    return Response(orjson.dumps(content), media_type="application/json")
