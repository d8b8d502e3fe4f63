"""The ASGI door in front of LiteLLM's application."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any

from sentinella_plugins.api.problems import anthropic_problem, problem
from sentinella_plugins.gateway import answers
from sentinella_plugins.gateway.chat_request import decode, parse_chat
from sentinella_plugins.gateway.metered_request import MESSAGES, parse_metered
from sentinella_plugins.gateway.metered_request import ROUTES as METERED
from sentinella_plugins.gateway.wire import (
    ASGIApp,
    Receive,
    Scope,
    Send,
    credential,
    headers_of,
    read_body,
    send_json,
    send_problem,
    until_gone,
)
from sentinella_plugins.kernel.access import AUTO
from sentinella_plugins.kernel.call import Call, Options
from sentinella_plugins.kernel.errors import (
    BadRequest,
    ClientGone,
    MethodNotAllowed,
    SentinellaError,
    Unavailable,
)
from sentinella_plugins.kernel.ids import new_id
from sentinella_plugins.kernel.secrets import Secret

if TYPE_CHECKING:
    from sentinella_plugins.gateway.house import House

logger = logging.getLogger(__name__)
CHAT = "/v1/chat/completions"
_CHAT_PATHS = {CHAT, "/chat/completions"}
_CHAT_OF_MODEL = re.compile(r"^/(?:openai/deployments|engines)/(?P<model>.+)/chat/completions$")
_OWN = re.compile(
    r"^/(health|metrics|v1/models(/.*)?|models|v1/(tenants|usage|cache|sessions|templates|tools|router)(/.*)?"
    r"|v1/feedback|sentinella/(docs|openapi\.json))$"
)
_JSON = (b"content-type", b"application/json")
Parse = Callable[[Call, dict[str, Any]], Awaitable[tuple[Call, bool]]]
Play = Callable[[Call, bool], Awaitable[None]]


class Door:
    """Decides by the path alone who answers: the conductor, Sentinella's own routes, or LiteLLM."""

    def __init__(self, app: ASGIApp, house: House) -> None:
        self._app = app
        self._house = house

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await self._house.ready()
            return await self._app(scope, receive, send)
        await self._house.ready()
        path = scope["path"]
        of_model = _CHAT_OF_MODEL.match(path)
        if path in _CHAT_PATHS or of_model:
            return await self._chat(scope, receive, send, of_model["model"] if of_model else None)
        if path in METERED:
            return await self._metered(scope, receive, send)
        if path == "/health/readiness" and not self._house.is_open:
            return await send_problem(
                send, Unavailable(f"The gateway is not ready: {self._house.problem}."), {}
            )
        if _OWN.match(path):
            if not self._house.is_open:
                return await send_json(send, 200, self._house.starting(), {})
            return await self._house.api(_own_scope(scope), receive, _with_id(send))
        return await self._app(scope, receive, send)

    async def _chat(self, scope: Scope, receive: Receive, send: Send, model: str | None) -> None:
        async def parse(call: Call, data: dict[str, Any]) -> tuple[Call, bool]:
            if model is not None:
                data["model"] = model
            extra = self._house.settings.gateway.extra_params
            asked = parse_chat(data, extra, call.headers.get("x-session-id"))
            call = call.evolve(
                requested=asked.model,
                model=asked.model,
                body=asked.body,
                given=asked.body,
                options=asked.options,
                stream=asked.stream,
            )
            return call, asked.wants_usage

        async def play(call: Call, wants_usage: bool) -> None:
            await self._house.conductor.play(call, send, wants_usage=wants_usage)

        await self._answer(CHAT, scope, receive, send, parse, play)

    async def _metered(self, scope: Scope, receive: Receive, send: Send) -> None:
        route, limits = METERED[scope["path"]], self._house.settings.gateway
        metered = self._house.metered(self._app)

        async def parse(call: Call, data: dict[str, Any]) -> tuple[Call, bool]:
            asked = parse_metered(route, data, limits.extra_params)
            call = call.evolve(requested=asked.model, model=asked.model, body=asked.body, stream=asked.stream)
            return call, asked.wants_usage

        async def play(call: Call, wants_usage: bool) -> None:
            await metered.play(call, scope, send, wants_usage=wants_usage)

        await self._answer(route, scope, receive, send, parse, play)

    async def _answer(
        self,
        route: str,
        scope: Scope,
        receive: Receive,
        send: Send,
        parse: Parse,
        play: Play,
    ) -> None:
        call = Call(
            id=new_id("req"),
            route=route,
            model=AUTO,
            body={},
            received_at=self._house.now(),
            started=perf_counter(),
        )
        limits = self._house.settings.gateway
        try:
            if not self._house.is_open:
                raise Unavailable(f"The gateway is not ready: {self._house.problem}.")
            headers = headers_of(scope, limits.max_header_count)
            if scope["method"] != "POST":
                raise MethodNotAllowed("Use POST.")
            key = credential(headers)
            call = await self._house.pipeline.admit(
                call.evolve(credential=Secret(key) if key else None, headers=headers)
            )
            await self._serve(call, receive, send, parse, play)
        except ClientGone:
            logger.info("the client of call `%s` went away", call.id)
        except SentinellaError as error:
            await _tell(send, error, call)
        except OSError as error:
            logger.info("call `%s` could not be answered: %s", call.id, error)
        except Exception as error:
            logger.exception("call `%s` failed", call.id)
            await _tell(send, error, call)

    async def _serve(self, call: Call, receive: Receive, send: Send, parse: Parse, play: Play) -> None:
        limits = self._house.settings.gateway
        inside = False
        try:
            async with self._house.traffic.turn(call.principal.tenant):
                raw = await read_body(
                    receive, call.headers, limit=limits.max_body_bytes, timeout_s=limits.body_timeout_s
                )
                call, wants_usage = await parse(call, decode(raw))
                inside = True
                await _watched(self._play(call, send, play, wants_usage), receive)
        except SentinellaError as error:
            if not inside:  # the corridor settles what it has let in
                await self._house.pipeline.refuse(call, error)
            raise

    async def _play(self, call: Call, send: Send, play: Play, wants_usage: bool) -> None:
        call, reply = await self._house.pipeline.enter(call)
        if reply is None:
            await play(call, wants_usage)
        else:
            await self._house.replies.play(call, reply, send, wants_usage=wants_usage)


async def _watched(work: Any, receive: Receive) -> None:
    """Runs the work until it ends or the client goes away; then it is cancelled and has settled when this
    returns."""
    running, gone = asyncio.ensure_future(work), asyncio.ensure_future(until_gone(receive))
    try:
        await asyncio.wait((running, gone), return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            await running
            return
        raise ClientGone
    finally:
        gone.cancel()
        if not running.done():
            running.cancel()
            await asyncio.wait((running,))


async def _tell(send: Send, error: Exception, call: Call) -> None:
    shape = partial(anthropic_problem, request_id=call.id) if call.route == MESSAGES else problem
    with suppress(OSError):
        await send_problem(send, error, answers.headers(call), shape)


def _refuse_unoffered(options: Options) -> None:
    """What the contract names and this version has no room for is refused, not ignored."""
    if options.template is not None:
        raise BadRequest("Templates are not offered by this version of the gateway.", param="template")


def _own_scope(scope: Scope) -> Scope:
    """Bodies are JSON whatever the client calls them: curl's `-d` says that they are a form."""
    headers = [(name, value) for name, value in scope["headers"] if name != b"content-type"]
    path = "/v1/models" if scope["path"] == "/models" else scope["path"]
    return {**scope, "path": path, "raw_path": path.encode(), "headers": [*headers, _JSON]}


def _with_id(send: Send) -> Send:
    request_id = new_id("req").encode()

    async def stamped(message: Any) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], (b"x-request-id", request_id)]}
        await send(message)

    return stamped
