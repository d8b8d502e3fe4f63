"""Registers tools, hands them to calls, and runs them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from sentinella_plugins.kernel.call import Call, Principal
from sentinella_plugins.kernel.clock import Clock
from sentinella_plugins.kernel.errors import Unavailable
from sentinella_plugins.kernel.events import Events, PartFailed
from sentinella_plugins.net.client import GuardedClient
from sentinella_plugins.storage.database import Database
from sentinella_plugins.tools.bounds import Loop
from sentinella_plugins.tools.config import ToolsConfig
from sentinella_plugins.tools.conversation import function, name_of, only_names
from sentinella_plugins.tools.mcp_tool import McpServers
from sentinella_plugins.tools.models import (
    Offered,
    Registered,
    SecretUnreadable,
    Toolbox,
    ToolCall,
    ToolFailed,
    ToolNotFound,
    ToolPage,
    ToolResult,
    ToolView,
    TooManyTools,
    TrialResult,
)
from sentinella_plugins.tools.python_tool import Functions
from sentinella_plugins.tools.registry import Registry
from sentinella_plugins.tools.runner import Runner
from sentinella_plugins.tools.sealing import Vault
from sentinella_plugins.tools.specs import SEPARATOR, AnySpec, HttpTool, PythonTool, Server
from sentinella_plugins.tools.store import ToolStore

logger = logging.getLogger(__name__)
_TEND_S = 15.0


class ToolsService:
    """`open` reads the operator's tools, `tend` must run, `close` ends sessions and threads."""

    def __init__(
        self,
        database: Database,
        events: Events,
        clock: Clock,
        config: ToolsConfig,
        data_dir: Path,
        env: Mapping[str, str],
        client: GuardedClient | None = None,
    ) -> None:
        self._client = client or GuardedClient(config.net)
        vault = Vault(config.secret_key, data_dir)
        self._registry = Registry(ToolStore(database), vault, self._client.guard, clock, config)
        self._functions = Functions(config.python_threads)
        self._servers = McpServers(self._client, clock, config)
        self._runner = Runner(
            self._client, self._servers, self._functions, self._registry.secrets_of, events, clock, config
        )
        self._events = events
        self._clock = clock
        self._config = config
        self._env = env

    async def open(self) -> None:
        """Raises `SettingsError` for an operator's tool that cannot be."""
        self._registry.open(self._env)
        for tool in self._registry.operators().values():
            if isinstance(tool.spec, PythonTool):
                await asyncio.to_thread(self._functions.load, tool.spec)

    async def tend(self) -> None:
        """Closes MCP sessions that nobody uses, until cancelled."""
        while True:
            self._servers.tend()
            await asyncio.sleep(_TEND_S)

    async def close(self) -> None:
        await self._servers.close()
        self._functions.close()
        await self._client.close()

    async def attach(self, call: Call) -> Call:
        """With `tool_execution: "gateway"`: the tools that the call names, else all there are, and the note
        `Toolbox`. Raises `TooManyTools`, `ToolNotFound`, `Unavailable`."""
        if call.options.tool_execution != "gateway":
            return call
        known = await self._known(call)
        given: Any = call.body.get("tools")
        if given is None:
            offered = await self._offers(known.values(), call)
            clients: list[Mapping[str, Any]] = []
        else:
            picked = [name_of(tool) or "" for tool in given if self._picks(tool, known)]
            offered = await self._picked(picked, known, call)
            clients = [tool for tool in given if not self._picks(tool, known)]
        if len(offered) > self._config.max_attached:
            raise TooManyTools(
                f"{len(offered)} tools are too many for one call, at most {self._config.max_attached}: name "
                "those it needs in `tools`.",
                param="tools",
            )
        return self._equipped(call, offered, clients)

    async def run(
        self, toolbox: Toolbox, calls: Sequence[ToolCall], *, deadline: float
    ) -> Sequence[ToolResult]:
        """One result for each call, in their order. `deadline` in the clock's monotonic seconds. What fails
        is told to the model: this never raises."""
        return await self._runner.run(toolbox, calls, deadline=deadline)

    def loop(self, toolbox: Toolbox) -> Loop:
        return Loop(self._config.bounds, toolbox, self._clock.monotonic())

    async def add(self, who: Principal, spec: AnySpec) -> ToolView:
        return _view(await self._registry.add(who, spec))

    async def change(self, who: Principal, name: str, spec: AnySpec) -> ToolView:
        try:
            return _view(await self._registry.change(who, name, spec))
        except SecretUnreadable:
            raise Unavailable("The kept secrets cannot be read: give them again.") from None

    async def get(self, who: Principal, name: str) -> ToolView:
        return _view(await self._registry.get(who.tenant, name))

    async def page(self, who: Principal, *, limit: int = 20, after: str | None = None) -> ToolPage:
        left = [tool for tool in await self._registry.all(who.tenant) if tool.spec.name > (after or "")]
        return ToolPage(data=tuple(map(_view, left[:limit])), has_more=len(left) > limit)

    async def remove(self, who: Principal, name: str) -> None:
        await self._registry.remove(who, name)

    async def test(self, who: Principal, name: str, arguments: Mapping[str, Any]) -> TrialResult:
        """Runs a tool by hand. Of an MCP server's name: what it offers."""
        server, _, remote = name.partition(SEPARATOR)
        tool = await self._registry.get(who.tenant, server)
        started = self._clock.monotonic()
        try:
            offers = await self._of(tool)
        except ToolFailed as error:
            ms = (self._clock.monotonic() - started) * 1000
            return TrialResult(name=name, ok=False, content=str(error), error=error.code, ms=ms)
        if isinstance(tool.spec, Server) and not remote:
            ms = (self._clock.monotonic() - started) * 1000
            names = tuple(offered.name for offered in offers)
            return TrialResult(name=name, ok=True, content="", ms=ms, functions=names)
        if name not in {offered.name for offered in offers}:
            raise ToolNotFound
        toolbox = Toolbox(tenant=who.tenant, request_id="", offered={o.name: o for o in offers})
        call = ToolCall(id="test", name=name, arguments=orjson.dumps(arguments).decode())
        deadline = self._clock.monotonic() + self._config.bounds.max_seconds
        (result,) = await self.run(toolbox, [call], deadline=deadline)
        return TrialResult(name=name, ok=result.ok, content=result.content, error=result.error, ms=result.ms)

    async def _known(self, call: Call) -> dict[str, Registered]:
        try:
            return await self._registry.recent(call.principal.tenant)
        except Unavailable as error:
            if self._config.on_failure == "closed":
                raise
            await self._report(call, error.message)
            return self._registry.operators()

    def _picks(self, tool: Mapping[str, Any], known: Mapping[str, Registered]) -> bool:
        return only_names(tool) and (name_of(tool) or "").partition(SEPARATOR)[0] in known

    async def _picked(
        self, names: Iterable[str], known: Mapping[str, Registered], call: Call
    ) -> list[Offered]:
        """Raises `ToolNotFound` for what a server does not offer, or not now."""
        found: dict[str, Offered] = {}
        for name in names:
            server, _, remote = name.partition(SEPARATOR)
            offers = {offered.name: offered for offered in await self._offers([known[server]], call)}
            if remote and name not in offers:
                raise ToolNotFound(
                    f"`{server}` offers no tool `{remote}`, or cannot be reached.", param="tools"
                )
            found |= {name: offers[name]} if remote else offers
        return list(found.values())

    async def _offers(self, tools: Iterable[Registered], call: Call) -> list[Offered]:
        """A server that cannot be reached is left out and reported."""
        tools = list(tools)
        lists = await asyncio.gather(*(self._of(tool) for tool in tools), return_exceptions=True)
        offers: list[Offered] = []
        for tool, found in zip(tools, lists, strict=True):
            if isinstance(found, ToolFailed):
                await self._report(call, f"`{tool.spec.name}`: {found}")
            elif isinstance(found, BaseException):
                raise found
            else:
                offers += found
        return offers

    async def _of(self, tool: Registered) -> Sequence[Offered]:
        spec = tool.spec
        if isinstance(spec, HttpTool | PythonTool):
            parameters = spec.parameters
            return [Offered(name=spec.name, description=spec.description, parameters=parameters, tool=tool)]
        try:
            secrets = self._registry.secrets_of(tool)
        except SecretUnreadable:
            raise ToolFailed("secret_unreadable", "Its secrets must be given again.") from None
        return await self._servers.offered(tool, secrets, spec.timeout_s or self._config.timeout_s)

    def _equipped(self, call: Call, offered: list[Offered], clients: list[Mapping[str, Any]]) -> Call:
        names = frozenset(name for tool in clients if (name := name_of(tool)))
        ours = {tool.name: tool for tool in offered if tool.name not in names}
        if not ours:
            return call
        body = {**call.body, "tools": [*clients, *map(function, ours.values())]}
        toolbox = Toolbox(tenant=call.principal.tenant, request_id=call.id, offered=ours, clients=names)
        return call.evolve(body=body).with_note(toolbox)

    async def _report(self, call: Call, error: str) -> None:
        logger.warning("tools are missing from call `%s`: %s", call.id, error)
        await self._events.publish(
            PartFailed(at=self._clock.now(), tenant=call.principal.tenant, part="tools", error=error)
        )


def _view(tool: Registered) -> ToolView:
    return ToolView.model_validate(
        {
            **tool.spec.model_dump(mode="json"),
            "id": tool.spec.name,
            "scope": "global" if tool.tenant is None else "tenant",
            "version": tool.version,
            "created_at": int(tool.created_at),
            "updated_at": int(tool.updated_at),
        }
    )
