"""One open session with an MCP server, held by a task of its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from mcp.client import Client, Transport
from mcp.shared.exceptions import MCPError
from mcp_types import CONNECTION_CLOSED, INVALID_REQUEST, CallToolResult, Tool

from sentinella_plugins.tools.models import ToolFailed

logger = logging.getLogger(__name__)
T = TypeVar("T")
Connect = Callable[[], Transport]
_MOST_PAGES = 20
_CLOSE_S = 5.0
_LONGEST_TOLD = 500
_GONE = "Session terminated"


class SessionGone(Exception):
    """The server does not know this session any more, and has done nothing."""


class McpSession:
    """`connect` gives the transport. Every way in which a server may die is a `ToolFailed`, except
    `SessionGone`."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._stop = asyncio.Event()
        self._client: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
        self._asking: set[asyncio.Future[Any]] = set()
        self._broken = False
        self._task = asyncio.create_task(self._hold())

    @property
    def open(self) -> bool:
        return not (self._broken or self._task.done())

    async def tools(self, most: int) -> list[Tool]:
        async def ask(client: Client) -> list[Tool]:
            found: list[Tool] = []
            cursor: str | None = None
            for _ in range(_MOST_PAGES):
                page = await client.list_tools(cursor=cursor)
                found += page.tools
                cursor = page.next_cursor
                if cursor is None or len(found) >= most:
                    break
            return found[:most]

        return await self._ask(ask)

    async def call(self, name: str, arguments: Mapping[str, Any]) -> CallToolResult:
        return await self._ask(lambda client: client.call_tool(name, dict(arguments)))

    async def close(self, patience_s: float) -> None:
        """Lets calls that run come to their end, so long."""
        self._broken = True
        if self._asking:
            await asyncio.wait(self._asking, timeout=patience_s)
        self._stop.set()
        done, _ = await asyncio.wait([self._task], timeout=_CLOSE_S)
        if not done:
            self._task.cancel()
            await asyncio.wait([self._task], timeout=_CLOSE_S)

    async def _hold(self) -> None:
        """Library and transport want to be left by the task that entered them."""
        try:
            async with Client(self._connect(), cache=None) as client:
                self._client.set_result(client)
                await self._stop.wait()
        except Exception as error:
            logger.info("an MCP session ended (%s)", type(error).__name__)
        finally:
            self._client.cancel()

    async def _ask(self, ask: Callable[[Client], Awaitable[T]]) -> T:
        asking = asyncio.ensure_future(self._answer(ask))
        self._asking.add(asking)
        try:
            await asyncio.wait([asking, self._task], return_when=asyncio.FIRST_COMPLETED)
            if asking.done():
                return asking.result()
            raise _lost()
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            self._asking.discard(asking)

    async def _answer(self, ask: Callable[[Client], Awaitable[T]]) -> T:
        try:
            return await ask(await asyncio.shield(self._client))
        except MCPError as error:
            if error.code == INVALID_REQUEST and error.message == _GONE:
                self._broken = True
                raise SessionGone from None
            if error.code == CONNECTION_CLOSED:
                self._broken = True
                raise _lost() from None
            told = error.message[:_LONGEST_TOLD]
            raise ToolFailed("mcp_error", f"The MCP server answered with an error: {told}") from None
        except asyncio.CancelledError:
            if self._client.cancelled():
                raise _lost() from None
            raise
        except Exception as error:
            logger.info("an MCP server could not be asked (%s)", type(error).__name__)
            raise _lost() from None


def _lost() -> ToolFailed:
    return ToolFailed("mcp_unreachable", "The MCP server cannot be reached or broke the connection off.")
