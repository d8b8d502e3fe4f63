"""MCP servers: their sessions, what they offer, and calls of it."""

from __future__ import annotations

import asyncio
import logging
import re
import sys
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mcp.client import Transport
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import AudioContent, CallToolResult, ImageContent, TextContent, Tool

from sentinella_plugins.kernel.clock import Clock
from sentinella_plugins.net.client import GuardedClient
from sentinella_plugins.tools.config import ToolsConfig
from sentinella_plugins.tools.mcp_session import McpSession, SessionGone
from sentinella_plugins.tools.mcp_transport import mcp_client
from sentinella_plugins.tools.models import InvalidTool, Offered, Registered, Secrets, ToolFailed
from sentinella_plugins.tools.request import headers
from sentinella_plugins.tools.result import rendered
from sentinella_plugins.tools.schema import check_schema
from sentinella_plugins.tools.specs import SEPARATOR, McpServer, Server

logger = logging.getLogger(__name__)

_MOST_TOOLS = 200
_LONGEST_NAME = 64
_LONGEST_DESCRIPTION = 4_000
_UNREACHABLE_S = 30.0
_PATIENCE_S = 60.0
_ODD = re.compile(r"[^A-Za-z0-9_-]")
Identity = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class _Listed:
    until: float
    offered: tuple[Offered, ...]


@dataclass(slots=True)
class _Held:
    session: McpSession
    used: float


class McpServers:
    """A session that breaks is opened anew by the next call: the broken one is not repeated, since nobody
    knows how far it came."""

    def __init__(self, client: GuardedClient, clock: Clock, config: ToolsConfig) -> None:
        self._client = client
        self._clock = clock
        self._config = config
        self._sessions: OrderedDict[Identity, _Held] = OrderedDict()
        self._listed: OrderedDict[Identity, _Listed] = OrderedDict()
        self._listing: dict[Identity, asyncio.Task[tuple[Offered, ...]]] = {}
        self._closing: set[asyncio.Task[None]] = set()
        # The library logs what servers say, which may be a tenant's secret.
        logging.getLogger("mcp.client").setLevel(logging.CRITICAL)

    async def offered(self, tool: Registered, secrets: Secrets, within_s: float) -> tuple[Offered, ...]:
        """What the server offers, at most `mcp_list_s` old. Raises `ToolFailed`."""
        known = self._listed.get(tool.identity)
        if known is not None and self._clock.monotonic() < known.until:
            if not known.offered:
                raise ToolFailed("mcp_unreachable", "The MCP server could not be reached a moment ago.")
            return known.offered
        task = self._listing.get(tool.identity)
        if task is None:
            task = asyncio.create_task(self._list(tool, secrets, within_s))
            self._listing[tool.identity] = task
            task.add_done_callback(lambda done: self._has_listed(tool.identity, done))
        return await asyncio.shield(task)

    async def call(
        self, offered: Offered, arguments: Mapping[str, Any], secrets: Secrets, within_s: float
    ) -> str:
        name = offered.remote or offered.name
        async with asyncio.timeout(within_s):
            try:
                return _text(await self._session(offered.tool, secrets).call(name, arguments))
            except SessionGone:
                return _text(await self._session(offered.tool, secrets).call(name, arguments))

    def tend(self) -> None:
        """Closes sessions that nobody uses."""
        idle = self._clock.monotonic() - self._config.mcp_idle_s
        for identity, held in tuple(self._sessions.items()):
            if held.used < idle or not held.session.open:
                self._close(identity)

    def forget(self, tool: Registered) -> None:
        self._listed.pop(tool.identity, None)
        self._close(tool.identity)

    async def close(self) -> None:
        for identity in tuple(self._sessions):
            self._close(identity, patience_s=0)
        for task in self._listing.values():
            task.cancel()
        await asyncio.gather(*self._closing, *self._listing.values(), return_exceptions=True)

    async def _list(self, tool: Registered, secrets: Secrets, within_s: float) -> tuple[Offered, ...]:
        try:
            async with asyncio.timeout(within_s):
                listed = await self._session(tool, secrets).tools(_MOST_TOOLS)
        except (TimeoutError, ToolFailed, SessionGone):
            self._keep(tool, _UNREACHABLE_S, ())
            raise ToolFailed("mcp_unreachable", "The MCP server did not tell what it offers.") from None
        found = _offers(tool, listed, self._config)
        self._keep(tool, self._config.mcp_list_s, found)
        return found

    def _keep(self, tool: Registered, for_s: float, offered: tuple[Offered, ...]) -> None:
        self._listed[tool.identity] = _Listed(self._clock.monotonic() + for_s, offered)
        self._listed.move_to_end(tool.identity)
        while len(self._listed) > 10 * self._config.mcp_sessions:
            self._listed.popitem(last=False)

    def _has_listed(self, identity: Identity, task: asyncio.Task[tuple[Offered, ...]]) -> None:
        self._listing.pop(identity, None)
        if not task.cancelled():
            task.exception()

    def _session(self, tool: Registered, secrets: Secrets) -> McpSession:
        held = self._sessions.get(tool.identity)
        if held is not None and not held.session.open:
            self._close(tool.identity)
            held = None
        if held is None:
            held = _Held(McpSession(lambda: self._transport(_server(tool), secrets)), 0.0)
            self._sessions[tool.identity] = held
        held.used = self._clock.monotonic()
        self._sessions.move_to_end(tool.identity)
        while len(self._sessions) > self._config.mcp_sessions:
            self._close(next(iter(self._sessions)))
        return held.session

    def _transport(self, spec: Server, secrets: Secrets) -> Transport:
        if isinstance(spec, McpServer):
            client = mcp_client(self._client, headers(spec.headers, secrets), self._config.mcp_idle_s)
            return streamable_http_client(spec.url, http_client=client)
        env = {place.removeprefix("env."): value.reveal() for place, value in secrets.items()}
        command = StdioServerParameters(command=spec.command[0], args=list(spec.command[1:]), env=env)
        return stdio_client(command, errlog=sys.stderr)

    def _close(self, identity: Identity, patience_s: float = _PATIENCE_S) -> None:
        held = self._sessions.pop(identity, None)
        if held is not None:
            task = asyncio.create_task(held.session.close(patience_s))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)


def _server(tool: Registered) -> Server:
    if not isinstance(tool.spec, Server):
        raise TypeError(f"`{tool.spec.name}` is no MCP server")
    return tool.spec


def _offers(tool: Registered, found: list[Tool], config: ToolsConfig) -> tuple[Offered, ...]:
    """What can be offered to a model: a name it may use, a schema that can be checked."""
    server = _server(tool)
    offers: dict[str, Offered] = {}
    for remote in found:
        name = f"{server.name}{SEPARATOR}{_ODD.sub('_', remote.name)}"
        wanted = server.tools is None or remote.name in server.tools
        if wanted and name not in offers and len(name) <= _LONGEST_NAME:
            try:
                check_schema(
                    remote.input_schema, max_bytes=config.max_schema_bytes, max_depth=config.max_schema_depth
                )
            except InvalidTool as error:
                logger.warning("the MCP tool `%s` is left out: %s", name, error)
                continue
            description = (remote.description or remote.title or "")[:_LONGEST_DESCRIPTION]
            offers[name] = Offered(
                name=name,
                description=description,
                parameters=remote.input_schema,
                tool=tool,
                remote=remote.name,
            )
    return tuple(offers.values())


def _text(result: CallToolResult) -> str:
    parts = [_part(block) for block in result.content]
    if not any(parts) and result.structured_content is not None:
        parts = [rendered(result.structured_content)]
    text = "\n".join(parts)
    if result.is_error:
        raise ToolFailed("mcp_tool_failed", text or "The tool failed and did not say why.")
    return text


def _part(block: object) -> str:
    if isinstance(block, TextContent):
        return block.text
    if isinstance(block, ImageContent | AudioContent):
        return f"[{block.mime_type}, {len(block.data)} characters of base64, left out]"
    resource = getattr(block, "resource", None)
    text = getattr(resource, "text", None)
    return text if isinstance(text, str) else f"[{getattr(resource or block, 'uri', 'something')}]"
