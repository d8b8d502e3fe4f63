"""The demo upstream as an ASGI application."""

from __future__ import annotations

import logging
from typing import Any

import orjson

from .control import control_app
from .delivery import Delivery, Pace
from .dialects import Target, target_for
from .errors import MESSAGES, error_body
from .exchange import Ask, BadRequest, Json
from .journal import Entry, Journal
from .replies import Author
from .rules import Rule, RuleBook, parse_rule
from .wire import ClientGone, Wire

RULE_HEADER = b"x-demo-rule"
log = logging.getLogger(__name__)


class DemoApp:
    def __init__(self, author: Author, pace: Pace | None = None, *, record: bool = True) -> None:
        self._author = author
        self._pace = pace or Pace()
        self._book = RuleBook()
        self._journal = Journal(record=record)
        self._control = control_app(self._book, self._journal, author.name)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        wire = Wire(scope, receive, send)
        path = scope["path"]
        target = target_for(path, wire.header(b"accept") if path.startswith("/cohere/") else None)
        if target:
            await self._serve(wire, target)
        elif path.startswith("/_demo") and not wire.is_local:
            await wire.json(403, {"error": "Only this machine may control the demo upstream."})
        else:
            await self._control(scope, receive, send)

    async def _serve(self, wire: Wire, target: Target) -> None:
        if wire.method != "POST":
            await wire.json(405, error_body(target.provider, 405, MESSAGES[405]))
            return
        try:
            await self._answer(wire, target)
        except BadRequest as error:
            await wire.json(400, error_body(target.provider, 400, str(error)))
        except ClientGone:
            return
        except Exception:
            log.exception("The demo upstream failed on %s", wire.path)
            if wire.status is None:
                await wire.json(500, error_body(target.provider, 500, MESSAGES[500]))
            else:
                wire.cut()

    async def _answer(self, wire: Wire, target: Target) -> None:
        data = await wire.body()
        body = parsed(data)
        ask = target.dialect.read(body)
        rule = self._rule(wire, target.provider, ask)
        entry = Entry(wire.path, target.provider, ask.model, ask.stream, wire.headers, body)
        self._journal.open(entry, len(data))
        try:
            await Delivery(wire, target, ask, rule, self._pace).run(self._author)
        except ClientGone:
            entry.disconnected = True
        finally:
            entry.status = wire.status
            self._journal.close(entry)

    def _rule(self, wire: Wire, provider: str, ask: Ask) -> Rule:
        if (data := wire.header(RULE_HEADER)) and wire.is_local:
            try:
                return parse_rule(data)
            except ValueError as error:
                raise BadRequest(f"x-demo-rule: {error}") from error
        return self._book.pick(provider, ask)


def parsed(data: bytes) -> Json:
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise BadRequest("We could not parse the JSON body of your request.") from error
    if not isinstance(body, dict):
        raise BadRequest("The body must be a JSON object.")
    return body
