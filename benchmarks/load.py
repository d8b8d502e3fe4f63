"""Load: `wrk` for rates and percentiles, a plain socket for the time to the first streamed token."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.processes import BenchmarkFailed

_CONTENT = re.compile(rb'"content": ?"[^"]')
_END = b"0\r\n\r\n"
_GRACE_S = 20.0
_COUNTED = """\
local first, last = wrk.body:match("^(.*)@N@(.*)$")
local asked = 0
function request()
  asked = asked + 1
  return wrk.format(nil, nil, nil, first .. asked .. last)
end
"""
COUNTED = "@N@"
"""Somewhere in a body: each request of a run has its own number there."""
_SCRIPT = """\
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
wrk.headers["authorization"] = "Bearer {key}"
wrk.body = [==[{body}]==]
{each}
function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    "\\nRESULT [%d, %d, %.1f, %.1f, %d, %d]\\n",
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
"""


@dataclass(frozen=True, slots=True)
class Request:
    port: int
    key: str
    body: Mapping[str, object]
    path: str = "/v1/chat/completions"

    def wire(self) -> bytes:
        body = _numbered(json.dumps(self.body), "").encode()
        head = (
            f"POST {self.path} HTTP/1.1\r\nhost: 127.0.0.1:{self.port}\r\n"
            f"authorization: Bearer {self.key}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


@dataclass(frozen=True, slots=True)
class Load:
    """`rate` per second, latencies in ms; `refused` are answers outside 2xx and 3xx."""

    rate: float
    p50_ms: float
    p99_ms: float
    requests: int
    refused: int


def require_wrk() -> str:
    path = shutil.which("wrk")
    if path is None:
        raise BenchmarkFailed("`wrk` is missing: install the Debian package (`apt-get install wrk`).")
    return path


def drive(request: Request, *, seconds: float, concurrency: int) -> Load:
    with TemporaryDirectory(prefix="sentinella-bench-") as folder:
        script = Path(folder) / "load.lua"
        body = _numbered(json.dumps(request.body), COUNTED)
        each = _COUNTED if COUNTED in body else ""
        script.write_text(_SCRIPT.format(key=request.key, body=body, each=each))
        shape = ["-t1", f"-c{concurrency}", f"-d{seconds:g}", "--timeout", "15"]
        run = subprocess.run(
            [require_wrk(), *shape, "-s", str(script), f"http://127.0.0.1:{request.port}{request.path}"],
            capture_output=True,
            text=True,
            timeout=seconds + _GRACE_S,
            check=True,
        )
    return _parsed(run.stdout)


def _numbered(body: str, rest: str) -> str:
    """With a number that no other run has, in digits of one length."""
    return body.replace(COUNTED, f"{time.time_ns():020d}{rest}")


def _parsed(output: str) -> Load:
    told = json.loads(output.split("RESULT ", 1)[1].splitlines()[0])
    requests, took_us, p50_us, p99_us, refused, broken = told
    if broken or not requests:
        raise BenchmarkFailed(f"connections broke under load: {broken} of {requests}")
    return Load(requests / (took_us / 1e6), p50_us / 1000, p99_us / 1000, requests, refused)


@dataclass(frozen=True, slots=True)
class Stream:
    """One streamed answer: seconds until its first content, and how many chunks had content."""

    first_s: float
    chunks: int


class StreamClient:
    """Asks for one stream after the other on one connection."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._socket = socket.create_connection(("127.0.0.1", request.port), timeout=30)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        self._socket.close()

    def stream(self) -> Stream:
        wire = self._request.wire()
        began = time.perf_counter()
        self._socket.sendall(wire)
        data, first = b"", 0.0
        while not data.endswith(_END):
            part = self._socket.recv(65536)
            if not part:
                raise BenchmarkFailed(f"a stream ended early: {data[-400:]!r}")
            data += part
            if not first and _CONTENT.search(data):
                first = time.perf_counter() - began
        if not data.startswith(b"HTTP/1.1 200") or b"[DONE]" not in data:
            raise BenchmarkFailed(f"a stream failed: {data[:400]!r}")
        return Stream(first, len(_CONTENT.findall(data)))


def answered(
    port: int,
    key: str,
    bodies: Iterable[Mapping[str, object]],
    *,
    seconds: float,
    extra: Mapping[str, str] | None = None,
) -> list[tuple[float, dict[str, Any]]]:
    """One call after the other on one connection: ms until the whole answer, and the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json", **(extra or {})}
    found, until = [], time.perf_counter() + seconds
    for body in bodies:
        data = json.dumps(body)
        began = time.perf_counter()
        connection.request("POST", "/v1/chat/completions", data, headers)
        got = connection.getresponse().read()
        found.append(((time.perf_counter() - began) * 1000, json.loads(got)))
        if time.perf_counter() > until:
            break
    connection.close()
    return found


def first_tokens(request: Request, *, seconds: float) -> list[Stream]:
    """Streams one after the other for a while, the first few of them not counted."""
    client, streams = StreamClient(request), []
    try:
        for _ in range(3):
            client.stream()
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            streams.append(client.stream())
    finally:
        client.close()
    return streams
