"""A house with tools: real database, real clients, and names that lead to this machine."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter
from sqlalchemy import insert

from sentinella_plugins.kernel.call import Call, Options, Principal
from sentinella_plugins.kernel.clock import SystemClock
from sentinella_plugins.kernel.events import Events, PartFailed, ToolRan
from sentinella_plugins.net.client import GuardedClient
from sentinella_plugins.net.config import NetConfig
from sentinella_plugins.storage.database import Database
from sentinella_plugins.storage.tables import tenants
from sentinella_plugins.tools.config import ToolsConfig
from sentinella_plugins.tools.models import Toolbox, ToolCall, ToolResult
from sentinella_plugins.tools.service import ToolsService
from sentinella_plugins.tools.specs import TenantSpec
from tests.wild_servers import Names

NET = NetConfig(allow=("tool.test", "127.0.0.1/32"), max_response_bytes=200_000)
SPEC: TypeAdapter[Any] = TypeAdapter(TenantSpec)


def spec(**fields: object) -> Any:
    return SPEC.validate_python({"name": "weather", "url": "https://tool.test/x", **fields})


ACME = Principal(tenant="acme", key_id="key_1")
OTHER = Principal(tenant="other", key_id="key_2")


@dataclass
class House:
    service: ToolsService
    database: Database
    ran: list[ToolRan] = field(default_factory=list)
    failed: list[PartFailed] = field(default_factory=list)

    def call(self, tools: object = None, who: Principal | None = None, **body: object) -> Call:
        given = {} if tools is None else {"tools": tools}
        return Call(
            id="call-1",
            route="/v1/chat/completions",
            model="m",
            body={"messages": [{"role": "user", "content": "?"}], **given, **body},
            options=Options(tool_execution="gateway"),
            principal=who or ACME,
            received_at=0.0,
            started=0.0,
        )

    async def toolbox(self, **fields: object) -> Toolbox:
        """Of a tool that was just registered."""
        await self.service.add(ACME, spec(**fields))
        note = (await self.service.attach(self.call())).note(Toolbox)
        assert note is not None
        return note

    async def run(
        self, toolbox: Toolbox, arguments: str = "{}", name: str = "weather", **more: float
    ) -> ToolResult:
        call = ToolCall(id="c1", name=name, arguments=arguments)
        deadline = asyncio.get_running_loop().time() + more.get("within_s", 10)
        (result,) = await self.service.run(toolbox, [call], deadline=deadline)
        return result


@asynccontextmanager
async def opened(
    folder: Path, net: NetConfig = NET, env: dict[str, str] | None = None, **config: Any
) -> AsyncIterator[House]:
    clock, events = SystemClock(), Events()
    database = Database(f"sqlite:///{folder / 'tools.db'}", clock=clock)
    await database.open()
    rows = [
        {"id": name, "document": "{}", "created_at": 0.0, "updated_at": 0.0} for name in ("acme", "other")
    ]
    await database.write(lambda connection: connection.execute(insert(tenants), rows).close())
    settings = ToolsConfig(**{"net": net, "cache_ttl_s": 0, **config})
    client = GuardedClient(net, resolve=Names(tool_test=["127.0.0.1"], evil_test=["127.0.0.1"]))
    service = ToolsService(database, events, clock, settings, folder, env or {}, client)
    house = House(service, database)

    async def ran(event: ToolRan) -> None:
        house.ran.append(event)

    async def failed(event: PartFailed) -> None:
        house.failed.append(event)

    events.subscribe(ToolRan, ran)
    events.subscribe(PartFailed, failed)
    try:
        await service.open()
        yield house
    finally:
        await service.close()
        await database.close()


@pytest.fixture
def house_of(tmp_path: Path) -> Any:
    """`async with house_of(**config) as house`"""

    numbers = itertools.count()

    def make(**config: Any) -> Any:
        return opened(tmp_path / str(next(numbers)), **config)

    return make
