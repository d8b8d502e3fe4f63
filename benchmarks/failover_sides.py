"""Sentinella and bare LiteLLM with the same primaries and stand-ins, each with a demo upstream of its own.

Every fault has a primary of its own name, so that what a breaker or a cooldown learned from one fault does
not meet the next.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks import sides
from benchmarks.faults import CASES, LONGER, PRIMARY, Case, stands_in
from benchmarks.processes import LITELLM, Server, ask, environment, free_port
from sentinella_plugins.demo.bases import api_base

LONG = "longer"
CHUNK_DELAY_MS = 5
COSTS = "BENCH_COSTS"


@dataclass(frozen=True, slots=True)
class FailoverSide:
    name: str
    port: int
    demo_port: int
    costs: Path | None

    def cost_of(self, request_id: str) -> float | None:
        """What a callback of the bare side was told."""
        if self.costs is None or not self.costs.exists():
            return None
        lines = [json.loads(line) for line in self.costs.read_text().splitlines()]
        return next((line["cost"] for line in lines if line["id"] == request_id), None)


def primary_of(case: Case) -> str:
    return f"primary-{CASES.index(case)}"


def backup_of(case: Case) -> str:
    return f"backup-{CASES.index(case)}"


@contextmanager
def opened(name: str, folder: Path, primary: str) -> Iterator[FailoverSide]:
    """`name` is `sentinella` or `bare`."""
    folder = folder / name
    folder.mkdir()
    with _demo(folder) as demo:
        demo.seconds_until("GET", "/health")
        url = f"http://127.0.0.1:{demo.port}"
        costs = folder / "costs.jsonl" if name == "bare" else None
        config = _bare(url, primary) if costs else _sentinella(url, primary)
        file = folder / "config.yaml"
        file.write_text(yaml.safe_dump(config))
        own = {COSTS: str(costs)} if costs else {"SENTINELLA_DATA_DIR": str(folder / "data")}
        env = environment(LITELLM_MASTER_KEY=sides.MASTER, SENTINELLA_API_KEY=sides.OPEN, **own)
        port = free_port()
        command = [LITELLM, "--config", str(file), "--host", "127.0.0.1", "--port", str(port)]
        with Server(name, command, env, port, folder / "proxy.log") as server:
            server.seconds_until("GET", "/health/liveliness" if costs else "/health", key=sides.MASTER)
            _warm(port)
            yield FailoverSide(name, port, demo.port, costs)


def _demo(folder: Path) -> Server:
    """Speaks at a pace, so that what comes after a chunk does not come with it."""
    port = free_port()
    command = [sys.executable, "-m", "sentinella_plugins.demo", "--port", str(port), "--brain", "canned"]
    command += ["--chunk-delay-ms", str(CHUNK_DELAY_MS)]
    return Server("demo", command, environment(), port, folder / "demo.log")


def _warm(port: int) -> None:
    for stream in (False, True):
        body = {"model": LONG, "messages": [{"role": "user", "content": "Hi"}], "stream": stream}
        sides.expect(ask(port, "POST", sides.CHAT, body, sides.MASTER), 200, "a first call")


def _models(url: str, primary: str) -> list[dict[str, Any]]:
    asked = [(LONG, *LONGER)]
    for case in CASES:
        asked.append((primary_of(case), primary, PRIMARY[primary]))
        asked.append((backup_of(case), *stands_in(case, primary)))
    return [
        {
            "model_name": name,
            "litellm_params": {
                "model": f"{provider}/{model}",
                "api_base": api_base(url, provider),
                "api_key": "demo",
            },
        }
        for name, provider, model in asked
    ]


def _bare(url: str, primary: str) -> dict[str, Any]:
    """What an operator would set who has read LiteLLM's page on reliability."""
    return {
        "model_list": _models(url, primary),
        "litellm_settings": {
            "callbacks": ["benchmarks.bare_costs.handler"],
            "request_timeout": 30,
            "drop_params": True,
            "telemetry": False,
        },
        "router_settings": {
            "num_retries": 2,
            "timeout": 30,
            "stream_timeout": 10,
            "allowed_fails": 3,
            "cooldown_time": 5,
            "fallbacks": [{primary_of(case): [backup_of(case)]} for case in CASES],
            "context_window_fallbacks": [{primary_of(case): [LONG]} for case in CASES],
        },
        "general_settings": {"master_key": sides.MASTER, "disable_model_info_refresh": True},
    }


def _sentinella(url: str, primary: str) -> dict[str, Any]:
    """Its defaults, and the same stand-ins."""
    chains: Mapping[str, list[str]] = {primary_of(case): [backup_of(case)] for case in CASES}
    settings = {"fallback": {"chains": dict(chains)}}
    shipped = sides.shipped()
    return {
        **shipped,
        "model_list": _models(url, primary),
        "general_settings": {**shipped["general_settings"], "sentinella": settings},
    }
