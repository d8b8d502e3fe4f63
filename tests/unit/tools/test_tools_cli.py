from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from sentinella_plugins.cli.app import app

TOOL = {
    "id": "weather",
    "name": "weather",
    "kind": "http",
    "scope": "tenant",
    "version": 2,
    "url": "https://tool.test/",
    "description": "Sun.",
}


@dataclass
class Street:
    url: str = ""
    ok: bool = True
    asked: list[tuple[str, str, Any]] = field(default_factory=list)

    def answer(self, method: str, path: str) -> tuple[int, Any]:
        if path.endswith("/test"):
            error = None if self.ok else "http_error"
            return 200, {
                "name": "weather",
                "ok": self.ok,
                "content": "21",
                "error": error,
                "ms": 5.2,
                "functions": None,
            }
        if method == "DELETE":
            return 200, {"id": "weather", "deleted": True}
        if path.startswith("/v1/tools?"):
            return 200, {"object": "list", "data": [TOOL], "has_more": False}
        if path == "/v1/tools/nobody":
            return 404, {"error": {"message": "There is no such tool."}}
        return 200, TOOL


@pytest.fixture
def street() -> Iterator[Street]:
    found = Street()

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            raw = self.rfile.read(int(self.headers.get("content-length") or 0))
            found.asked.append((self.command, self.path, json.loads(raw) if raw else None))
            status, body = found.answer(self.command, self.path)
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = handle_any

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def run(street: Street, *arguments: str, text: str | None = None) -> Result:
    return CliRunner().invoke(app, ["tools", *arguments, "--url", street.url, "--key", "k"], input=text)


def test_list_and_show(street: Street) -> None:
    listed = run(street, "list")
    assert listed.exit_code == 0 and "weather" in listed.stdout and "https://tool.test/" in listed.stdout
    assert json.loads(run(street, "list", "--json").stdout)["data"] == [TOOL]
    assert json.loads(run(street, "show", "weather").stdout) == TOOL
    missing = run(street, "show", "nobody")
    assert missing.exit_code == 1 and missing.stderr == "There is no such tool.\n"


def test_add_and_replace(street: Street, tmp_path: Path) -> None:
    file = tmp_path / "tool.yaml"
    file.write_text("name: weather\nurl: https://tool.test/\nheaders: {X: {secret: abcd}}\n")
    assert run(street, "add", str(file)).stdout == "registered weather (version 2)\n"
    body = {"name": "weather", "url": "https://tool.test/", "headers": {"X": {"secret": "abcd"}}}
    assert street.asked[-1] == ("POST", "/v1/tools", body)
    replaced = run(street, "add", "-", "--replace", text='{"name": "weather"}')
    assert replaced.stdout == "replaced weather (version 2)\n"
    assert street.asked[-1] == ("PUT", "/v1/tools/weather", {"name": "weather"})


@pytest.mark.parametrize("content", ["- a", "{", "", "a: [", "just text"])
def test_a_file_that_holds_no_tool(street: Street, tmp_path: Path, content: str) -> None:
    file = tmp_path / "tool.yaml"
    file.write_text(content)
    assert run(street, "add", str(file)).exit_code == 1
    assert run(street, "add", str(tmp_path / "nothing")).exit_code == 1
    assert street.asked == []


def test_test(street: Street) -> None:
    good = run(street, "test", "weather", '{"city": "Rom"}')
    assert (good.exit_code, good.stdout, good.stderr) == (0, "21\n", "ok, 5 ms\n")
    assert street.asked[-1] == ("POST", "/v1/tools/weather/test", {"arguments": {"city": "Rom"}})
    street.ok = False
    bad = run(street, "test", "weather")
    assert (bad.exit_code, bad.stderr) == (1, "http_error, 5 ms\n")
    assert run(street, "test", "weather", "[1]").exit_code == 2


def test_delete(street: Street) -> None:
    assert run(street, "delete", "weather", text="n\n").exit_code == 1 and street.asked == []
    assert run(street, "delete", "weather", "--yes").stdout == "deleted weather\n"
    assert street.asked == [("DELETE", "/v1/tools/weather", None)]
