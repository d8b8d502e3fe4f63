from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path
from typing import Any

import pytest

from sentinella_plugins.kernel.clock import SystemClock
from sentinella_plugins.kernel.errors import SettingsError
from sentinella_plugins.kernel.events import Events
from sentinella_plugins.tools.config import ToolsConfig
from sentinella_plugins.tools.models import Toolbox, ToolCall
from sentinella_plugins.tools.service import ToolsService
from tests import wild_servers as ws
from tests.tool_functions import released
from tests.unit.tools.conftest import ACME, House, spec

pytestmark = pytest.mark.asyncio
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
HERE = "tests.tool_functions"


def python(function: str, **fields: object) -> dict[str, object]:
    return {"kind": "python", "name": function, "function": f"{HERE}:{function}", **fields}


WORD = {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]}
PYTHON = (
    python("shout", parameters=WORD),
    python("slowly", parameters=WORD),
    python("blocks", timeout_s=0.1),
    python("stubborn", timeout_s=0.1),
    python("raises"),
)


async def test_a_tool_over_http(house_of: Any) -> None:
    async with ws.wild() as server, house_of() as house:
        server.paths["/v1/Rom"] = ws.says('{"now": {"celsius": 21}, "more": "x"}')
        box = await house.toolbox(
            url=server.url("/v1/{city}"),
            parameters=CITY,
            extract="/now",
            headers={"Authorization": {"secret": "Bearer s3cret-key"}},
        )
        result = await house.run(box, '{"city": "Rom"}')
        assert (result.ok, result.content, result.error) == (True, '{"celsius":21}', None)
        assert (result.id, result.name, result.args_error) == ("c1", "weather", False)
        assert server.asked[0].headers["authorization"] == "Bearer s3cret-key"
        (event,) = house.ran
        assert (event.tenant, event.request_id, event.name, event.kind) == (
            "acme",
            "call-1",
            "weather",
            "http",
        )
        assert event.ok and event.error is None and event.ms == result.ms > 0


@pytest.mark.parametrize(
    ("behave", "code", "told"),
    [
        (ws.silent, "tool_timeout", "did not answer in time"),
        (ws.trickling, "tool_timeout", "did not answer in time"),
        (ws.endless, "outbound_too_large", "larger than 200000 bytes"),
        (ws.bomb(10_000_000), "outbound_too_large", "larger than 200000 bytes"),
        (ws.cut(b"{}", 100), "outbound_connection", "could not be reached"),
        (ws.redirects("http://169.254.169.254/latest/meta-data/"), "address_not_allowed", "not public"),
        (ws.redirects("http://evil.test/"), "url_not_allowed", "https"),
        (ws.redirects("https://elsewhere.example/"), "url_not_allowed", "not allowed for it"),
        (ws.says("{oops"), "invalid_json", "malformed JSON, beginning with: {oops"),
        (ws.says(b"\x89PNG\xff", content_type="image/png"), "binary_result", "5 bytes of `image/png`"),
        (ws.says('{"why": "no"}', status=500), "http_error", 'status 500. {\\"why\\": \\"no\\"}'),
        (ws.says(b"\0\xff", status=404, content_type="image/png"), "http_error", "status 404."),
    ],
)
async def test_what_fails_is_told_to_the_model(
    house_of: Any, behave: ws.Behave, code: str, told: str
) -> None:
    async with ws.wild() as server, house_of() as house:
        server.paths["/x"] = behave
        result = await house.run(await house.toolbox(url=server.url("/x"), timeout_s=0.3))
        assert (result.ok, result.error, result.args_error) == (False, code, False)
        assert result.content.startswith('{"error":"') and told in result.content
        assert house.ran[0].error == code


async def test_redirects_to_the_metadata_service_even_when_its_host_is_allowed(house_of: Any) -> None:
    async with ws.wild() as server, house_of() as house:
        server.paths["/x"] = ws.redirects("http://169.254.169.254/latest/meta-data/")
        box = await house.toolbox(url=server.url("/x"), allowed_hosts=["169.254.169.254"])
        assert (await house.run(box)).error == "address_not_allowed"


async def test_wrong_arguments_never_leave(house_of: Any) -> None:
    async with ws.wild() as server, house_of() as house:
        box = await house.toolbox(url=server.url("/v1/{city}"), parameters=CITY)
        for arguments in ("{}", '{"city": 5}', "{oops", '{"city": ".."}'):
            result = await house.run(box, arguments)
            assert result.args_error and not result.ok and server.asked == []
        invented = await house.run(box, name="invented")
        assert invented.args_error and invented.error == "unknown_tool" and "weather" in invented.content
        assert house.ran[-1].name == "" and house.ran[-1].kind == "unknown"


async def test_a_secret_that_comes_back_is_masked(house_of: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with ws.wild() as server, house_of(env={"KEY": "query-s3cret"}) as house:
        secret = "Bearer s3cret-key-123"
        box = await house.toolbox(
            url=server.url("/x"),
            headers={"Authorization": {"secret": secret}},
            query={"key": {"secret": "query-s3cret"}},
            max_result_bytes=200,
        )
        for body, status in (
            ('{"headers": {"authorization": "Bearer s3cret-key-123"}, "url": "/x?key=query-s3cret"}', 200),
            ("bad key s3cret-key-123", 401),
            ("y" * 120 + "s3cret-key-123" * 100, 200),
        ):
            server.paths["/x"] = ws.says(body, status=status, content_type="text/plain")
            result = await house.run(box)
            assert "s3cret" not in result.content and "[secret]" in result.content
        assert server.asked[0].target == "/x?key=query-s3cret"
        server.paths["/x"] = ws.redirects("/x?key=query-s3cret&again")
        assert "s3cret" not in (await house.run(box)).content
        row = await house.database.read(lambda c: str(c.exec_driver_sql("SELECT * FROM tools").all()))
        assert "s3cret" not in row and "s3cret" not in caplog.text


async def test_a_long_result_is_cut(house_of: Any) -> None:
    async with ws.wild() as server, house_of() as house:
        server.paths["/x"] = ws.says("ü" * 20_000, content_type="text/plain")
        result = await house.run(await house.toolbox(url=server.url("/x"), max_result_bytes=1_000))
        assert len(result.content.encode()) <= 1_000
        assert result.ok and result.content.endswith("ü\n[cut off: 40000 bytes in all]")


async def test_tools_run_side_by_side_within_their_bound(house_of: Any) -> None:
    running = most = 0

    async def counts(writer: asyncio.StreamWriter) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.02)
        running -= 1
        await ws.says("{}")(writer)

    async with ws.wild() as server, house_of(max_running_per_tenant=3) as house:
        server.paths["/x"] = counts
        box = await house.toolbox(url=server.url("/x"))
        calls = [ToolCall(id=f"c{n}", name="weather", arguments="{}") for n in range(9)]
        results = await house.service.run(box, calls, deadline=time.monotonic() + 10)
        assert [result.id for result in results] == [call.id for call in calls]
        assert all(result.ok for result in results) and most == 3


async def test_the_calls_deadline_counts_too(house_of: Any) -> None:
    async with ws.wild() as server, house_of() as house:
        server.paths["/x"] = ws.silent
        box = await house.toolbox(url=server.url("/x"))
        assert (await house.run(box, within_s=0.1)).error == "tool_timeout"
        assert (await house.run(box, within_s=-1)).error == "tool_timeout"


async def test_functions(house_of: Any) -> None:
    released.clear()
    async with house_of(registered=PYTHON, python_threads=1) as house:
        box = (await house.service.attach(house.call())).note(Toolbox)
        assert (await house.run(box, '{"word": "hey"}', "shout")).content == "HEY"
        said = await house.run(box, '{"word": "hey"}', "slowly")
        assert said.ok and said.content.startswith('{"said": "hey"')
        failed = await house.run(box, name="raises")
        assert failed.error == "function_failed" and "ValueError" in failed.content
        assert "hunter2" not in failed.content
        assert (await house.run(box, name="stubborn")).error == "tool_timeout"
        assert (await house.run(box, name="blocks")).error == "tool_timeout"
        # Its only thread is taken: the next one waits no longer than it may.
        assert (await house.run(box, '{"word": "hey"}', "shout", within_s=0.1)).error == "tool_timeout"
        released.set()
        assert (await house.run(box, '{"word": "hey"}', "shout")).content == "HEY"


@pytest.mark.parametrize(
    "tool",
    [
        python("nobody"),
        {**python("shout"), "function": "no.such.module:x"},
        {**python("shout"), "function": f"{HERE}:NO_FUNCTION"},
        python("shout", parameters={"type": "string"}),
        {"name": "x", "url": "http://10.0.0.1/"},
        {"name": "x", "url": "https://tool.test/", "headers": {"X": {"secret": "os.environ/NOT_SET"}}},
        {"name": "x", "url": "https://tool.test/", "headers": {"X": {"secret": None}}},
    ],
)
async def test_an_operators_tool_that_cannot_be_ends_the_start(house_of: Any, tool: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=r"tools\.registered"):
        async with house_of(registered=(tool,)):
            pass


async def test_an_operators_secret_comes_from_the_environment(house_of: Any) -> None:
    async with ws.wild() as server:
        tool = {
            "name": "weather",
            "url": server.url("/x"),
            "headers": {"X-Key": {"secret": "os.environ/WEATHER_KEY"}},
        }
        async with house_of(registered=(tool,), env={"WEATHER_KEY": "from-outside"}) as house:
            server.paths["/x"] = ws.says('"from-outside"')
            box = (await house.service.attach(house.call())).note(Toolbox)
            assert (await house.run(box)).content == '"[secret]"'
            assert server.asked[0].headers["x-key"] == "from-outside"


async def test_a_tenant_reads_no_environment(house_of: Any) -> None:
    async with ws.wild() as server, house_of(env={"KEY": "operators"}) as house:
        server.paths["/x"] = ws.says("{}")
        box = await house.toolbox(url=server.url("/x"), headers={"X": {"secret": "os.environ/KEY"}})
        await house.run(box)
        assert server.asked[0].headers["x"] == "os.environ/KEY"


async def test_a_changed_key_is_a_failed_tool(house_of: Any) -> None:
    async with house_of(secret_key="one") as house:
        await house.service.add(ACME, spec(headers={"X": {"secret": "abcd"}}))
        other = await _another(house)
        box = (await other.attach(house.call())).note(Toolbox)
        (result,) = await other.run(box, [ToolCall(id="c", name="weather", arguments="{}")], deadline=1e12)
        assert result.error == "secret_unreadable"
        await other.close()


async def _another(house: House) -> ToolsService:
    config = ToolsConfig(secret_key="two")  # type: ignore[arg-type]
    return ToolsService(house.database, Events(), SystemClock(), config, Path("."), {})
