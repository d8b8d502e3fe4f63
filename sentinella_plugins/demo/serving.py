"""Running the demo upstream as a process that never outlives who needs it."""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
from dataclasses import dataclass
from pathlib import Path

import orjson
import uvicorn

from .app import DemoApp
from .brain import load_brain
from .delivery import Pace
from .replies import Author

POLL_S = 1.0


@dataclass(frozen=True, slots=True)
class Options:
    host: str = "127.0.0.1"
    port: int = 0
    brain: str = "auto"
    ready_file: Path | None = None
    latency_ms: float = 0
    chunk_delay_ms: float = 0
    while_locked: Path | None = None
    lock_grace_s: float = 10
    record: bool = True


def serve(options: Options) -> None:
    """Blocks until SIGTERM, SIGINT, or the release of the lock it depends on."""
    author = Author(load_brain(options.brain))
    pace = Pace(options.latency_ms / 1000, options.chunk_delay_ms / 1000)
    app = DemoApp(author, pace, record=options.record)
    config = uvicorn.Config(
        app,
        host=options.host,
        port=options.port,
        loop="uvloop",
        lifespan="off",
        ws="none",
        access_log=False,
        log_level="critical",
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=0,
    )
    DemoServer(config, options, author.name).run()


class DemoServer(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, options: Options, brain: str) -> None:
        super().__init__(config)
        self._options = options
        self._brain = brain
        self._watch: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        if self._options.ready_file:
            announce(self._options.ready_file, url)
        print(f"Sentinella demo upstream on {url} ({self._brain} answers)", flush=True)
        if self._options.while_locked:
            self._watch = asyncio.create_task(self._follow(self._options.while_locked))

    async def _follow(self, lock: Path) -> None:
        await asyncio.sleep(self._options.lock_grace_s)
        while held(lock):  # noqa: ASYNC110
            await asyncio.sleep(POLL_S)
        self.should_exit = True


def announce(ready_file: Path, url: str) -> None:
    draft = ready_file.with_name(f".{ready_file.name}.{os.getpid()}")
    draft.write_bytes(orjson.dumps({"url": url, "pid": os.getpid()}))
    draft.replace(ready_file)


def held(lock: Path) -> bool:
    """True while another process holds a lock on the file."""
    try:
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
