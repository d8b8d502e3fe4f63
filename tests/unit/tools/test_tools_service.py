from __future__ import annotations

from typing import Any

import pytest

from sentinella_plugins.kernel.call import Options
from sentinella_plugins.kernel.errors import Forbidden, SentinellaError, Unavailable
from sentinella_plugins.net.models import AddressRefused, UrlRefused
from sentinella_plugins.tools.models import (
    InvalidTool,
    Toolbox,
    ToolExists,
    ToolNotFound,
    TooManyTools,
)
from sentinella_plugins.tools.stage import ToolsStage
from tests.unit.tools.conftest import ACME, OTHER, House, spec

pytestmark = pytest.mark.asyncio
GLOBAL = ({"name": "clock", "url": "https://tool.test/clock", "description": "What time it is."},)


def named(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


def own(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}


async def attached(house: House, tools: object = None, **more: Any) -> tuple[list[str], Toolbox | None]:
    call = await house.service.attach(house.call(tools, **more))
    given: Any = call.body.get("tools", [])
    return [tool["function"]["name"] for tool in given], call.note(Toolbox)


async def test_nothing_is_attached_unless_asked_for(house_of: Any) -> None:
    async with house_of(registered=GLOBAL) as house:
        call = house.call([own("mine")]).evolve(options=Options())
        assert await ToolsStage(house.service).enter(call) is call


async def test_without_tools_nothing_changes(house_of: Any) -> None:
    async with house_of() as house:
        call = house.call()
        assert await house.service.attach(call) is call


async def test_all_are_attached_when_none_is_named(house_of: Any) -> None:
    async with house_of(registered=GLOBAL) as house:
        await house.service.add(ACME, spec(description="The weather.", name="weather"))
        await house.service.add(OTHER, spec(name="theirs"))
        call = await house.service.attach(house.call())
        assert call.body["tools"] == [
            {
                "type": "function",
                "function": {
                    "name": name,
                    "description": text,
                    "parameters": {"type": "object", "properties": {}},
                },
            }
            for name, text in (("clock", "What time it is."), ("weather", "The weather."))
        ]
        box = call.note(Toolbox)
        assert box is not None and set(box.offered) == {"clock", "weather"} and box.clients == frozenset()
        assert (await attached(house, who=OTHER))[0] == ["clock", "theirs"]


async def test_names_pick_and_descriptions_are_the_clients(house_of: Any) -> None:
    async with house_of(registered=GLOBAL) as house:
        await house.service.add(ACME, spec())
        assert (await attached(house, [named("weather")]))[0] == ["weather"]
        names, box = await attached(house, [own("mine"), named("weather"), named("unknown")])
        assert names == ["mine", "unknown", "weather"]
        assert box is not None and box.clients == {"mine", "unknown"} and set(box.offered) == {"weather"}
        assert await attached(house, [own("weather")]) == (["weather"], None)
        names, box = await attached(house, [own("weather"), named("weather"), named("clock")])
        assert names == ["weather", "clock"] and box is not None and set(box.offered) == {"clock"}
        assert await attached(house, []) == ([], None)


async def test_too_many_for_one_call(house_of: Any) -> None:
    async with house_of(max_attached=2) as house:
        for name in ("a", "b", "c"):
            await house.service.add(ACME, spec(name=name))
        with pytest.raises(TooManyTools, match="3 tools are too many"):
            await attached(house)
        assert (await attached(house, [named("a"), named("c")]))[0] == ["a", "c"]


async def test_a_tenants_tool_stands_before_the_operators(house_of: Any) -> None:
    async with house_of(registered=GLOBAL) as house:
        await house.service.add(ACME, spec(name="clock", description="Ours."))
        assert [tool.scope for tool in (await house.service.page(ACME)).data] == ["tenant"]
        assert (await house.service.get(OTHER, "clock")).scope == "global"
        await house.service.remove(ACME, "clock")
        assert (await house.service.get(ACME, "clock")).scope == "global"
        with pytest.raises(ToolNotFound):
            await house.service.remove(ACME, "clock")


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"url": "http://api.example.com/"}, UrlRefused),
        ({"url": "https://user:pass@tool.test/"}, UrlRefused),
        ({"url": "https://169.254.169.254/"}, AddressRefused),
        ({"url": "https://[::ffff:10.0.0.1]/"}, AddressRefused),
        ({"url": "https://tool.test:22/"}, UrlRefused),
        ({"url": "https://tool.test/{x}"}, InvalidTool),
        ({"parameters": {"type": "array"}}, InvalidTool),
        ({"headers": {"X": {"secret": None}}}, InvalidTool),
        ({"kind": "mcp", "url": "https://10.0.0.1/mcp"}, AddressRefused),
    ],
)
async def test_what_cannot_be_registered(
    house_of: Any, fields: dict[str, Any], kind: type[SentinellaError]
) -> None:
    async with house_of() as house:
        with pytest.raises(kind):
            await house.service.add(ACME, spec(**fields))
        assert (await house.service.page(ACME)).data == ()


async def test_names_and_numbers_are_bounded(house_of: Any) -> None:
    async with house_of(max_per_tenant=2) as house:
        await house.service.add(ACME, spec(name="a"))
        with pytest.raises(ToolExists):
            await house.service.add(ACME, spec(name="a"))
        await house.service.add(ACME, spec(name="b"))
        with pytest.raises(TooManyTools):
            await house.service.add(ACME, spec(name="c"))
        await house.service.add(OTHER, spec(name="a"))


async def test_a_change_keeps_what_is_null(house_of: Any) -> None:
    async with house_of() as house:
        keeps = {"X-One": {"secret": None}, "X-Two": {"secret": None}}
        given = {"X-One": {"secret": "first"}, "X-Two": {"secret": "second"}}
        made = await house.service.add(ACME, spec(headers=given))
        assert made.model_dump()["headers"] == keeps and made.version == 1
        changed = await house.service.change(ACME, "weather", spec(headers=keeps, description="New."))
        assert (changed.version, changed.model_dump()["description"]) == (2, "New.")
        secrets = house.service._registry.secrets_of(await house.service._registry.get("acme", "weather"))
        assert {place: secret.reveal() for place, secret in secrets.items()} == {
            "headers.x-one": "first",
            "headers.x-two": "second",
        }
        for url in ("https://tool.test:8443/x", "https://evil.test/x", "http://tool.test/x"):
            with pytest.raises(InvalidTool, match="Give the secrets again"):
                await house.service.change(ACME, "weather", spec(headers=keeps, url=url))
        with pytest.raises(InvalidTool, match="none that is kept"):
            await house.service.change(ACME, "weather", spec(headers={"X-Three": {"secret": None}}))
        with pytest.raises(InvalidTool, match="renamed"):
            await house.service.change(ACME, "other", spec())
        with pytest.raises(ToolNotFound):
            await house.service.change(OTHER, "weather", spec())


async def test_who_may_register(house_of: Any) -> None:
    admin = ACME.__class__(tenant="acme", key_id="k", role="admin")
    async with house_of(registration="admin") as house:
        await house.service.add(admin, spec())
        for attempt in (
            house.service.add(ACME, spec(name="x")),
            house.service.change(ACME, "weather", spec()),
            house.service.remove(ACME, "weather"),
        ):
            with pytest.raises(Forbidden):
                await attempt
    async with house_of(registration="off") as house:
        with pytest.raises(Forbidden):
            await house.service.add(admin, spec(name="y"))


async def test_when_the_database_is_away(house_of: Any) -> None:
    async with house_of(registered=GLOBAL) as house:
        await house.database.close()
        with pytest.raises(Unavailable):
            await attached(house)


async def test_or_goes_on_with_the_operators(house_of: Any) -> None:
    async with house_of(registered=GLOBAL, on_failure="open") as house:
        await house.database.close()
        assert (await attached(house))[0] == ["clock"]
        assert [event.part for event in house.failed] == ["tools"]
