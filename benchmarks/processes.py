"""Servers as real processes on free loopback ports. Each is ended by its own process id."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[1]
LITELLM = str(Path(sys.executable).with_name("litellm"))
START_S = 120.0
STOP_S = 10.0
_POLL_S = 0.02


class BenchmarkFailed(RuntimeError):
    """A side of the benchmark did not do what is to be measured."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(**added: str) -> dict[str, str]:
    """Without provider keys and with bytecode written, whatever the caller's shell holds."""
    kept = ("PATH", "HOME", "LANG", "TMPDIR")
    base = {name: os.environ[name] for name in kept if name in os.environ}
    return base | {"PYTHONPATH": str(ROOT), "LITELLM_LOCAL_MODEL_COST_MAP": "True"} | added


def ask(
    port: int, method: str, path: str, body: object = None, key: str | None = None, *, timeout_s: float = 30
) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
    try:
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        response = connection.getresponse()
        return Answer(response.status, response.read())
    finally:
        connection.close()


class Server:
    """A process of ours: `with Server(...) as server:` starts it and ends it."""

    def __init__(
        self, name: str, command: Sequence[str], env: Mapping[str, str], port: int, log: Path
    ) -> None:
        self.name = name
        self.port = port
        self._command = list(command)
        self._env = dict(env)
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._began = 0.0

    def __enter__(self) -> Self:
        with self._log.open("ab") as log:
            self._began = time.perf_counter()
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._env, cwd=ROOT
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def seconds_until(self, method: str, path: str, body: object = None, key: str | None = None) -> float:
        """From exec until the first 200."""
        while (elapsed := time.perf_counter() - self._began) < START_S:
            if self._process is None or self._process.poll() is not None:
                raise BenchmarkFailed(f"`{self.name}` ended at its start: {self._last_words()}")
            try:
                if ask(self.port, method, path, body, key).status == 200:
                    return time.perf_counter() - self._began
            except OSError:
                pass
            time.sleep(_POLL_S)
        raise BenchmarkFailed(f"`{self.name}` was not ready after {elapsed:.0f} s: {self._last_words()}")

    def rss_mib(self) -> float:
        """Of the process that serves: with one worker LiteLLM serves in the process it was started as."""
        pid = self._process.pid if self._process else 0
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmRSS:")).split()[1]) / 1024

    def cpu_s(self) -> float:
        """Processor time so far, all threads: what a neighbour on the same cores cannot take away."""
        pid = self._process.pid if self._process else 0
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _last_words(self) -> str:
        return self._log.read_text(errors="replace")[-800:]
