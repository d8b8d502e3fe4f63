"""`sentinella templates`, against the real routes."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from typer.testing import CliRunner, Result

from sentinella_plugins.cli.app import app
from tests.unit.templates.conftest import house, street

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    ready = threading.Event()
    servers: list[uvicorn.Server] = []

    async def serve() -> None:
        async with house(tmp_path) as found:
            config = uvicorn.Config(
                street(found.service, "acme"), port=0, log_level="warning", lifespan="off"
            )
            server = uvicorn.Server(config)
            servers.append(server)
            serving = asyncio.create_task(server.serve())
            while not server.started:
                await asyncio.sleep(0.01)
            ready.set()
            await serving

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(20)
    port = servers[0].servers[0].sockets[0].getsockname()[1]
    monkeypatch.setenv("SENTINELLA_URL", f"http://127.0.0.1:{port}")

    def command(*arguments: str, input: str | None = None) -> Result:
        return CliRunner().invoke(app, ["templates", *arguments], input=input)

    yield command
    servers[0].should_exit = True
    thread.join(20)


def ok(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.output


def told(result: Result) -> Any:
    return json.loads(ok(result))


def test_the_whole_command(run: Run, tmp_path: Path) -> None:
    made = told(
        run("create", "greeting", "--text", "Hello {name}!", "-v", "name", "--label", "prod", "--json")
    )
    assert (made["version"], made["variables"], made["labels"]) == (1, ["name"], {"prod": {"1": 1.0}})
    assert "greeting" in ok(run("list")) and told(run("list", "--json"))["data"][0]["id"] == made["id"]
    assert ok(run("render", "greeting", "-s", "name=A=B")) == "Hello A=B!\n"
    text = tmp_path / "text.txt"
    text.write_text("Bye {{ name|upper }}")
    assert told(run("update", "greeting", "-f", str(text), "--jinja2", "--json"))["version"] == 2
    assert ok(run("render", "greeting", "--set", 'name:=["a"]', "--label", "prod")) == 'Hello ["a"]!\n'
    assert ok(run("render", made["id"], "--set", "name=x")) == "Bye X\n"
    difference = ok(run("diff", "greeting"))
    assert "-syntax: simple" in difference and "+syntax: jinja2" in difference
    assert "no difference" in ok(run("diff", "greeting", "--from", "2", "--to", "2"))
    assert told(run("label", "greeting", "prod", "1=90,2=10", "--json"))["labels"] == {
        "prod": {"1": 90.0, "2": 10.0}
    }
    assert "prod → 1 (90), 2 (10)" in ok(run("show", "greeting"))
    assert told(run("label", "greeting", "prod", "none", "--json"))["labels"] == {}
    assert told(run("label", "greeting", "old", "1", "--json"))["labels"] == {"old": {"1": 1.0}}
    assert told(run("rollback", "greeting", "1", "--json"))["template"] == "Hello {name}!"
    assert (
        "mean_cost_usd" in ok(run("stats", "greeting"))
        and len(told(run("stats", "greeting", "--json"))["data"]) == 3
    )
    file = tmp_path / "greeting.yaml"
    file.write_text(ok(run("export", "greeting")))
    assert told(run("import", str(file), "--json"))["version"] == 3
    assert told(run("import", "-", "--json", input=file.read_text().replace("Hello", "Hi")))["version"] == 4
    (tmp_path / "chat.yaml").write_text(
        "messages: [{role: system, content: 'Be {how}.'}]\nvariables: [how]\n"
    )
    assert told(run("import", str(tmp_path / "chat.yaml"), "--json"))["name"] == "chat"
    assert ok(run("render", "chat", "-s", "how=kind")) == "system: Be kind.\n"
    assert run("delete", "chat", input="n\n").exit_code == 1
    assert ok(run("delete", "chat", "--yes")) == "deleted chat\n"
    assert len(told(run("list", "--json"))["data"]) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("show", "nobody"),
        ("create", "x"),
        ("create", "x", "--text", "a", "--file", "b"),
        ("create", "x", "--file", "/nowhere"),
        ("create", "x", "--text", "{a}", "-v", "b"),
        ("render", "x", "--set", "nothing"),
        ("render", "x", "--set", "a:=nothing"),
        ("label", "x", "y", "half"),
        ("import", "/nowhere.yaml"),
    ],
)
def test_mistakes_end_in_one_line(run: Run, arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert result.exit_code != 0
    assert "Traceback" not in result.output
