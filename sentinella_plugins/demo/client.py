"""Start a demo upstream and tell it what to do.

with running_demo() as demo:
    demo.rule(provider="openai", fault={"status": 429, "retry_after": 1}, times=1)
    client = OpenAI(base_url=demo.base("openai"), api_key="demo")
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias

import httpx
import orjson

from .bases import api_base

Json: TypeAlias = dict[str, Any]
ROOT = Path(__file__).resolve().parents[2]
START_S = 30.0
STOP_S = 5.0


class DemoFailed(RuntimeError):
    """The demo upstream did not start."""


class Demo:
    """A running demo upstream at `url`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = httpx.Client(base_url=url, timeout=10, trust_env=False)

    def base(self, provider: str) -> str:
        """The `api_base` LiteLLM needs to reach this server as `provider`."""
        return api_base(self.url, provider)

    def rule(
        self,
        *,
        provider: str | None = None,
        model: str | None = None,
        stream: bool | None = None,
        contains: str | None = None,
        prefill: bool | None = None,
        times: int | None = None,
        every: int | None = None,
        fault: Mapping[str, Any] | None = None,
        reply: Mapping[str, Any] | None = None,
    ) -> int:
        """Adds a rule and gives its id; a rule that cannot be understood raises `ValueError`."""
        match = {
            "provider": provider,
            "model": model,
            "stream": stream,
            "contains": contains,
            "prefill": prefill,
        }
        rule = {"match": _given(match), "times": times, "every": every, "fault": fault, "reply": reply}
        answer = self._http.post("/_demo/rules", json=_given(rule))
        if answer.status_code == 400:
            raise ValueError(answer.json()["error"])
        return int(answer.raise_for_status().json()["id"])

    def rules(self) -> list[Json]:
        return list(self._get("/_demo/rules")["rules"])

    def requests(self, limit: int = 100) -> list[Json]:
        """The last requests, oldest first, keys masked."""
        return list(self._get(f"/_demo/requests?limit={limit}")["requests"])

    def counts(self) -> Json:
        """`{"total", "in_flight", "counts": [{"provider", "model", "requests"}]}` since the last `clear`."""
        return self._get("/_demo/counts")

    def health(self) -> Json:
        return self._get("/health")

    def clear(self) -> None:
        """Forgets all rules, requests and counts."""
        self._http.delete("/_demo/rules").raise_for_status()
        self._http.delete("/_demo/requests").raise_for_status()

    def close(self) -> None:
        self._http.close()

    def _get(self, path: str) -> Json:
        return dict(self._http.get(path).raise_for_status().json())


class RunningDemo:
    """A demo upstream in a process of its own; see `running_demo`."""

    def __init__(self, arguments: list[str]) -> None:
        self._arguments = arguments
        self._folder = tempfile.TemporaryDirectory(prefix="sentinella-demo-")
        self._process: subprocess.Popen[bytes] | None = None
        self._demo: Demo | None = None
        self._lock = -1

    def __enter__(self) -> Demo:
        try:
            self._process = self._start()
            self._demo = Demo(self._url(self._process))
        except BaseException:
            self._stop()
            raise
        return self._demo

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    async def __aenter__(self) -> Demo:
        return await asyncio.to_thread(self.__enter__)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self._stop)

    def _path(self, name: str) -> Path:
        return Path(self._folder.name, name)

    def _start(self) -> subprocess.Popen[bytes]:
        self._lock = os.open(self._path("lock"), os.O_CREAT | os.O_RDWR)
        fcntl.flock(self._lock, fcntl.LOCK_SH)
        paths = ["--ready-file", str(self._path("ready")), "--while-locked", str(self._path("lock"))]
        command = [sys.executable, "-m", "sentinella_plugins.demo", *paths, *self._arguments]
        seen = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        with self._path("log").open("wb") as output:
            return subprocess.Popen(  # noqa: S603
                command, stdout=output, stderr=output, env=os.environ | {"PYTHONPATH": seen}
            )

    def _url(self, process: subprocess.Popen[bytes]) -> str:
        ready, deadline = self._path("ready"), time.monotonic() + START_S
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise DemoFailed(self._path("log").read_text(errors="replace")[-2_000:])
            time.sleep(0.01)
        return str(orjson.loads(ready.read_bytes())["url"])

    def _stop(self) -> None:
        if self._demo:
            self._demo.close()
        if self._process:
            self._process.terminate()
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
        self._folder.cleanup()


def running_demo(*, brain: str = "canned", latency_ms: float = 0, chunk_delay_ms: float = 0) -> RunningDemo:
    """A demo upstream on a free loopback port, for `with` and for `async with`.

    `brain` is `canned` (same text every time), `smollm2` or `auto`. The process ends with the block, and
    also when this process is killed.
    """
    pace = ["--latency-ms", str(latency_ms), "--chunk-delay-ms", str(chunk_delay_ms)]
    return RunningDemo(["--brain", brain, *pace])


def _given(values: Mapping[str, Any]) -> Json:
    return {key: value for key, value in values.items() if value is not None}
