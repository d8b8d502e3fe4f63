from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from sentinella_plugins.tools.models import Toolbox, ToolNotFound
from tests import mcp_server
from tests import wild_servers as ws
from tests.mcp_server import Process
from tests.servers import free_port
from tests.unit.tools.conftest import ACME, House, spec

pytestmark = pytest.mark.asyncio
SECRET = "Bearer mcp-s3cret"


@pytest.fixture(scope="module")
def shared() -> Iterator[Process]:
    with mcp_server.running() as process:
        yield process


@pytest.fixture
def server(shared: Process) -> Process:
    if not shared.alive:
        shared.start()
    return shared


def files(url: str, **fields: object) -> Any:
    return spec(kind="mcp", name="files", url=url, headers={"Authorization": {"secret": SECRET}}, **fields)


async def box_of(house: House, tools: object = None) -> Toolbox:
    note = (await house.service.attach(house.call(tools))).note(Toolbox)
    assert note is not None
    return note


async def test_what_a_server_offers(house_of: Any, server: Process) -> None:
    async with house_of() as house:
        await house.service.add(ACME, files(server.url, tools=["add", "read.file"]))
        call = await house.service.attach(house.call())
        tools: Any = call.body["tools"]
        assert [tool["function"]["name"] for tool in tools] == ["files__add", "files__read_file"]
        assert tools[0]["function"]["description"] == "Adds two numbers."
        assert tools[0]["function"]["parameters"]["required"] == ["a", "b"]
        box = await box_of(house, [{"type": "function", "function": {"name": "files__add"}}])
        assert set(box.offered) == {"files__add"}
        box = await box_of(house, [{"type": "function", "function": {"name": "files"}}])
        assert set(box.offered) == {"files__add", "files__read_file"}
        with pytest.raises(ToolNotFound, match="offers no tool `fails`"):
            await box_of(house, [{"type": "function", "function": {"name": "files__fails"}}])


async def test_calls(house_of: Any, server: Process, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with house_of() as house:
        await house.service.add(ACME, files(server.url, max_result_bytes=1_000))
        box = await box_of(house)
        assert (await house.run(box, '{"a": 1, "b": 2}', "files__add")).content == "3"
        assert (await house.run(box, '{"path": "ü"}', "files__read_file")).content == "contents of ü"
        wrong = await house.run(box, '{"a": "x"}', "files__add")
        assert wrong.args_error and wrong.error == "invalid_arguments"
        failed = await house.run(box, '{"why": "no"}', "files__fails")
        assert failed.error == "mcp_tool_failed" and "fails" in failed.content
        assert "image/png" in (await house.run(box, name="files__picture")).content
        assert (await house.run(box, name="files__whoami")).content.strip() == "[secret]"
        long = await house.run(box, '{"size": 5000}', "files__floods")
        assert long.ok and len(long.content) <= 1_000
        assert house.ran[0].kind == "mcp"
    assert "mcp-s3cret" not in caplog.text


async def test_one_failure_leaves_the_others_alone(house_of: Any, server: Process) -> None:
    async with house_of() as house:
        await house.service.add(ACME, files(server.url))
        box = await box_of(house)
        slow = asyncio.ensure_future(house.run(box, name="files__sleeps", within_s=1.5))
        flood = await house.run(box, '{"size": 300000}', "files__floods")
        assert flood.error == "mcp_error" and "larger than 200000 bytes" in flood.content
        assert (await house.run(box, '{"a": 1, "b": 2}', "files__add")).content == "3"
        assert (await slow).error == "tool_timeout"


async def test_a_server_that_dies_and_comes_back(house_of: Any, server: Process) -> None:
    async with house_of() as house:
        await house.service.add(ACME, files(server.url))
        box = await box_of(house)
        slow = asyncio.ensure_future(house.run(box, name="files__sleeps"))
        assert (await house.run(box, name="files__dies")).error in ("mcp_unreachable", "mcp_error")
        assert (await slow).error in ("mcp_unreachable", "mcp_error")
        down = await house.run(box, '{"a": 1, "b": 2}', "files__add")
        assert not down.ok and down.error in ("mcp_unreachable", "mcp_error")
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
        assert (await house.run(box, '{"a": 1, "b": 2}', "files__add")).content == "3"


async def test_a_server_that_is_away_is_left_out(house_of: Any) -> None:
    async with house_of() as house:
        await house.service.add(ACME, files(f"http://tool.test:{free_port()}/mcp"))
        await house.service.add(ACME, spec())
        assert set((await box_of(house)).offered) == {"weather"}
        assert [event.part for event in house.failed] == ["tools"] and "files" in house.failed[0].error
        trial = await house.service.test(ACME, "files", {})
        assert (trial.ok, trial.error) == (False, "mcp_unreachable")


async def test_a_server_at_a_forbidden_address(house_of: Any) -> None:
    async with ws.wild() as wild, house_of() as house:
        await house.service.add(ACME, files(wild.url("/mcp", "tool.test")))
        wild.paths["/mcp"] = ws.redirects("http://169.254.169.254/mcp", 307)
        assert (await house.service.test(ACME, "files", {})).ok is False
        assert {asked.target for asked in wild.asked} == {"/mcp"}


async def test_trials(house_of: Any, server: Process) -> None:
    async with house_of() as house:
        await house.service.add(ACME, files(server.url))
        whole = await house.service.test(ACME, "files", {})
        assert whole.ok and whole.functions is not None and "files__add" in whole.functions
        assert (await house.service.test(ACME, "files__add", {"a": 2, "b": 2})).content == "4"
        with pytest.raises(ToolNotFound):
            await house.service.test(ACME, "files__nothing", {})


async def test_a_command(house_of: Any) -> None:
    tool = {
        "kind": "mcp_command",
        "name": "local",
        "command": [sys.executable, mcp_server.__file__, "stdio"],
        "env": {"TOOL_SECRET": "os.environ/OUTSIDE", "PYTHONPATH": "."},
        "timeout_s": 30,
    }
    async with house_of(registered=(tool,), env={"OUTSIDE": "std-s3cret"}) as house:
        box = await box_of(house)
        assert (await house.run(box, '{"a": 1, "b": 2}', "local__add", within_s=30)).content == "3"
        assert (await house.run(box, name="local__whoami")).content == "None [secret]"
        assert (await house.run(box, name="local__dies")).error == "mcp_unreachable"
        assert (await house.run(box, '{"a": 1, "b": 2}', "local__add", within_s=30)).content == "3"


async def test_a_forgotten_session_is_opened_again(house_of: Any) -> None:
    """By a server of the older protocol, which answers 404 for a session that it does not know."""
    known: set[str] = set()
    opened = 0

    async def mcp(writer: asyncio.StreamWriter) -> None:
        nonlocal opened
        asked = wild.asked[-1]
        message = orjson.loads(asked.body) if asked.body else {}
        method = message.get("method", "")
        if asked.method != "POST":
            return await ws.says(status=405)(writer)
        if method.startswith("notifications/"):
            return await ws.says(status=202)(writer)
        if method == "initialize":
            opened += 1
            known.add(f"s{opened}")
            info = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}}
            result = {**info, "serverInfo": {"name": "old", "version": "1"}}
            return await ws.says(_answer(message, result), mcp_session_id=f"s{opened}")(writer)
        if asked.headers.get("mcp-session-id") not in known:
            return await ws.says(status=404)(writer)
        listed = {"tools": [{"name": "hello", "inputSchema": {"type": "object"}}]}
        said = {"content": [{"type": "text", "text": f"from s{opened}"}]}
        await ws.says(_answer(message, listed if method == "tools/list" else said))(writer)

    async with ws.wild() as wild, house_of() as house:
        wild.paths["/mcp"] = mcp
        await house.service.add(ACME, files(wild.url("/mcp")))
        box = await box_of(house)
        assert (await house.run(box, name="files__hello")).content == "from s1"
        known.clear()
        assert (await house.run(box, name="files__hello")).content == "from s2"
        assert opened == 2


def _answer(message: dict[str, Any], result: dict[str, Any]) -> bytes:
    return orjson.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result})
