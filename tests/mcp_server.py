"""A real MCP server, as a process: `python tests/mcp_server.py http PORT` or `stdio`."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from mcp.server.mcpserver import Context, Image, MCPServer

from tests.servers import free_port, wait_until

_HERE = Path(__file__).resolve()


def build() -> MCPServer:
    server = MCPServer("tests")

    @server.tool(description="Adds two numbers.")
    def add(a: int, b: int) -> int:
        return a + b

    @server.tool(name="read.file")
    def read_file(path: str) -> str:
        return f"contents of {path}"

    @server.tool()
    def fails(why: str) -> str:
        raise ValueError(why)

    @server.tool()
    def dies() -> str:
        os._exit(1)

    @server.tool()
    async def sleeps() -> str:
        await asyncio.sleep(60)
        return "rested"

    @server.tool()
    def floods(size: int) -> str:
        return "x" * size

    @server.tool()
    def picture() -> Image:
        return Image(data=b"\x89PNG", format="png")

    @server.tool()
    def whoami(context: Context) -> str:
        given = (context.headers or {}).get("authorization")
        return f"{given} {os.environ.get('TOOL_SECRET', '')}"

    return server


@dataclass
class Process:
    """Stands up again after it was killed, on the same port."""

    port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/mcp"

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        environment = {**os.environ, "PYTHONPATH": str(_HERE.parents[1])}
        self._process = subprocess.Popen(
            [sys.executable, str(_HERE), "http", str(self.port)],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(self._answers)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        with suppress(httpx.HTTPError):
            return httpx.get(self.url, trust_env=False).status_code > 0
        return False


@contextmanager
def running() -> Iterator[Process]:
    process = Process()
    try:
        process.start()
        yield process
    finally:
        process.kill()


if __name__ == "__main__":
    if sys.argv[1] == "stdio":
        build().run("stdio")
    else:
        build().run("streamable-http", host="127.0.0.1", port=int(sys.argv[2]))
