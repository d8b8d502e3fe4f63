"""Runs what a model asks for: arguments checked, in parallel, in time, without secrets in what comes back."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sentinella_plugins.kernel.call import Json
from sentinella_plugins.kernel.clock import Clock
from sentinella_plugins.kernel.errors import SentinellaError
from sentinella_plugins.kernel.events import Events, ToolRan
from sentinella_plugins.net.client import GuardedClient
from sentinella_plugins.tools import http_tool
from sentinella_plugins.tools.config import ToolsConfig
from sentinella_plugins.tools.masking import masked
from sentinella_plugins.tools.mcp_tool import McpServers
from sentinella_plugins.tools.models import (
    Offered,
    Registered,
    Secrets,
    SecretUnreadable,
    Toolbox,
    ToolCall,
    ToolFailed,
    ToolResult,
)
from sentinella_plugins.tools.python_tool import Functions
from sentinella_plugins.tools.result import failure, shortened
from sentinella_plugins.tools.schema import Arguments
from sentinella_plugins.tools.specs import HttpTool, PythonTool

logger = logging.getLogger(__name__)
_CHECKS = 1_000


class Lanes:
    """How many run at once: in all, and of each tenant."""

    def __init__(self, most: int, most_per_tenant: int) -> None:
        self._all = asyncio.Semaphore(most)
        self._most_per_tenant = most_per_tenant
        self._tenants: dict[str, tuple[asyncio.Semaphore, int]] = {}

    @asynccontextmanager
    async def place(self, tenant: str) -> AsyncIterator[None]:
        lane, users = self._tenants.get(tenant) or (asyncio.Semaphore(self._most_per_tenant), 0)
        self._tenants[tenant] = lane, users + 1
        try:
            async with lane, self._all:
                yield
        finally:
            lane, users = self._tenants.pop(tenant)
            if users > 1:
                self._tenants[tenant] = lane, users - 1


class Runner:
    def __init__(
        self,
        client: GuardedClient,
        servers: McpServers,
        functions: Functions,
        secrets_of: Callable[[Registered], Secrets],
        events: Events,
        clock: Clock,
        config: ToolsConfig,
    ) -> None:
        self._client = client
        self._servers = servers
        self._functions = functions
        self._secrets_of = secrets_of
        self._events = events
        self._clock = clock
        self._config = config
        self._lanes = Lanes(config.max_running, config.max_running_per_tenant)
        self._checks: OrderedDict[tuple[object, ...], tuple[Json, Arguments]] = OrderedDict()

    async def run(
        self, toolbox: Toolbox, calls: Sequence[ToolCall], *, deadline: float
    ) -> Sequence[ToolResult]:
        """One result for each call, in their order. `deadline` in monotonic seconds. Never raises: what
        fails is told to the model."""
        return await asyncio.gather(*(self._one(toolbox, call, deadline) for call in calls))

    async def _one(self, toolbox: Toolbox, call: ToolCall, deadline: float) -> ToolResult:
        started = self._clock.monotonic()
        offered = toolbox.offered.get(call.name)
        limit = self._config.max_result_bytes
        secrets: Secrets = {}
        failed: ToolFailed | None = None
        try:
            if offered is None:
                raise _unknown(call.name, toolbox)
            limit = offered.tool.spec.max_result_bytes or limit
            arguments = self._check(offered).parse(call.arguments, self._config.max_argument_bytes)
            secrets = self._secrets_of(offered.tool)
            content = await self._in_time(toolbox.tenant, offered, arguments, secrets, deadline)
        except Exception as error:
            failed = _explained(error, call.name)
            content = failure(str(failed))
        result = ToolResult(
            id=call.id,
            name=call.name,
            content=shortened(masked(content, secrets), limit),
            ok=failed is None,
            ms=(self._clock.monotonic() - started) * 1000,
            error=failed.code if failed else None,
            args_error=failed is not None and failed.args_error,
        )
        await self._tell(toolbox, offered, result)
        return result

    async def _in_time(
        self,
        tenant: str,
        offered: Offered,
        arguments: Mapping[str, Any],
        secrets: Secrets,
        deadline: float,
    ) -> str:
        patience = offered.tool.spec.timeout_s or self._config.timeout_s
        ends = min(deadline, self._clock.monotonic() + patience)
        async with asyncio.timeout(max(0.0, ends - self._clock.monotonic())), self._lanes.place(tenant):
            return await self._run(offered, arguments, secrets, max(0.0, ends - self._clock.monotonic()))

    async def _run(
        self, offered: Offered, arguments: Mapping[str, Any], secrets: Secrets, within_s: float
    ) -> str:
        spec = offered.tool.spec
        if isinstance(spec, HttpTool):
            return await http_tool.run(self._client, spec, arguments, secrets, within_s)
        if isinstance(spec, PythonTool):
            return await self._functions.run(spec, arguments, within_s)
        return await self._servers.call(offered, arguments, secrets, within_s)

    def _check(self, offered: Offered) -> Arguments:
        """Compiled once per schema."""
        key = (*offered.tool.identity, offered.name)
        schema, check = self._checks.get(key) or (None, None)
        if check is None or schema != offered.parameters:
            check = Arguments(offered.parameters)
            self._checks[key] = offered.parameters, check
        self._checks.move_to_end(key)
        while len(self._checks) > _CHECKS:
            self._checks.popitem(last=False)
        return check

    async def _tell(self, toolbox: Toolbox, offered: Offered | None, result: ToolResult) -> None:
        await self._events.publish(
            ToolRan(
                at=self._clock.now(),
                tenant=toolbox.tenant,
                request_id=toolbox.request_id,
                name=result.name if offered else "",  # an invented name is nobody's label
                kind=offered.tool.spec.kind if offered else "unknown",
                ok=result.ok,
                ms=result.ms,
                error=result.error,
            )
        )


def _unknown(name: str, toolbox: Toolbox) -> ToolFailed:
    known = ", ".join(sorted(toolbox.offered))
    return ToolFailed("unknown_tool", f"There is no tool `{name[:64]}`. There are: {known}.", args_error=True)


def _explained(error: Exception, name: str) -> ToolFailed:
    if isinstance(error, ToolFailed):
        return error
    if isinstance(error, SecretUnreadable):
        return ToolFailed("secret_unreadable", "This tool's secrets must be given again.")
    if isinstance(error, TimeoutError):
        return ToolFailed("tool_timeout", "The tool did not answer in time.")
    if isinstance(error, SentinellaError):
        return ToolFailed(error.code, error.message)
    logger.error("the tool `%s` failed", name, exc_info=error)
    return ToolFailed("tool_failed", "The tool failed.")
