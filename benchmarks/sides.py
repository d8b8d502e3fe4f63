"""The two sides: bare LiteLLM and Sentinella, in front of the same demo upstream, one worker each."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.load import COUNTED
from benchmarks.processes import LITELLM, ROOT, Answer, BenchmarkFailed, Server, ask, environment, free_port
from sentinella_plugins.gateway.deployments import prepare

CHAT = "/v1/chat/completions"
MODEL = "gpt-4o-mini"
MASTER = "sk-bench-master-0000000000"
OPEN, TIGHT, STRANGER = "sk-bench-open-000000000", "sk-bench-tight-00000000", "sk-bench-stranger-000000"
QUESTION = {
    "model": MODEL,
    "messages": [{"role": "user", "content": "What is the capital of France, and why?"}],
}
# Each call is another one to the cache; its question is the same, so that its vector is known.
MISS = {**QUESTION, "stop": [COUNTED]}
STREAMED = {**MISS, "stream": True}
CHUNKS = 20
_ALL_LIMITS = {
    "requests_per_minute": 10**9,
    "requests_per_hour": 10**9,
    "requests_per_day": 10**9,
    "tokens_per_minute": 10**11,
    "cost_per_day_usd": "1000000",
    "cost_per_month_usd": "1000000",
    "max_concurrency": 10**6,
}


@dataclass(frozen=True, slots=True)
class Side:
    """One whose calls all pass has `open_key`; `tight_key` belongs to one who is over the limit."""

    name: str
    server: Server
    open_key: str
    tight_key: str


@dataclass(frozen=True, slots=True)
class Readiness:
    """Seconds from exec."""

    health_s: float
    chat_s: float


def demo(folder: Path) -> Server:
    port = free_port()
    command = [sys.executable, "-m", "sentinella_plugins.demo", "--port", str(port)]
    command += ["--no-record", "--brain", "canned"]
    return Server("demo", command, environment(), port, folder / "demo.log")


def teach(demo_port: int) -> None:
    """Streams of exactly `CHUNKS` pieces, and one answer to every wording of the question: the demo's own
    repeats what was asked, and the cache's checks would find that its near hits are wrong."""
    for stream, reply in ((True, {"chunks": CHUNKS}), (False, {"text": "Paris, since the tenth century."})):
        rule = {"match": {"stream": stream}, "reply": reply}
        expect(ask(demo_port, "POST", "/_demo/rules", rule), 201, "the demo's rule")


def bare(folder: Path, demo_url: str) -> Server:
    config = shipped()
    config["model_list"] = prepare([_unkeyed(model) for model in config["model_list"]], {}, demo_url)
    config["litellm_settings"]["callbacks"] = ["benchmarks.bare_hooks.handler"]
    config["general_settings"] = {
        "custom_auth": "benchmarks.bare_hooks.auth",
        "disable_model_info_refresh": True,
        "master_key": MASTER,
    }
    file = folder / "bare.yaml"
    file.write_text(yaml.safe_dump(config))
    return _litellm("bare", file, folder, environment(BENCH_OPEN_KEY=OPEN, BENCH_TIGHT_KEY=TIGHT))


def sentinella(folder: Path, demo_url: str) -> Server:
    env = environment(
        SENTINELLA_DATA_DIR=str(folder / "data"),
        SENTINELLA_API_KEY=OPEN,
        LITELLM_MASTER_KEY=MASTER,
        SENTINELLA_DEMO__URL=demo_url,
    )
    return _litellm("sentinella", ROOT / "proxy_config.yaml", folder, env)


def timed_start(server: Server, health: str) -> Readiness:
    health_s = server.seconds_until("GET", health, key=MASTER)
    return Readiness(health_s, server.seconds_until("POST", CHAT, QUESTION, OPEN))


def bare_side(server: Server) -> Side:
    return Side("bare", server, OPEN, TIGHT)


def limited_side(server: Server) -> Side:
    """A tenant with a limit on everything, and one whose limit is used up by its first call of a minute."""
    limited = _tenant(server.port, "limited", _ALL_LIMITS)
    return Side("sentinella", server, limited, _tenant(server.port, "tight", {"requests_per_minute": 1}))


def unlimited_side(limited: Side) -> Side:
    return Side("sentinella, unlimited", limited.server, OPEN, limited.tight_key)


def check_refusals(side: Side) -> None:
    """That what is measured as 401 and 429 is that."""
    port = side.server.port
    expect(ask(port, "POST", CHAT, QUESTION, STRANGER), 401, f"a stranger at `{side.name}`")
    answers = [ask(port, "POST", CHAT, QUESTION, side.tight_key) for _ in range(3)]
    expect(answers[-1], 429, f"a call over its limit at `{side.name}`")


def expect(answer: Answer, status: int, what: str) -> Answer:
    if answer.status != status:
        raise BenchmarkFailed(f"{what}: {answer.status} instead of {status}: {answer.body[:400]!r}")
    return answer


def _tenant(port: int, name: str, limits: Mapping[str, object]) -> str:
    expect(ask(port, "POST", "/v1/tenants", {"id": name, "limits": limits}, MASTER), 201, f"tenant `{name}`")
    made = ask(port, "POST", f"/v1/tenants/{name}/keys", {"name": "bench"}, MASTER)
    return str(expect(made, 201, f"key of `{name}`").json()["key"])


def shipped() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "proxy_config.yaml").read_text()))


def _unkeyed(model: dict[str, Any]) -> dict[str, Any]:
    return {**model, "litellm_params": {**model["litellm_params"], "api_key": None}}


def _litellm(name: str, config: Path, folder: Path, env: dict[str, str]) -> Server:
    port = free_port()
    command = [LITELLM, "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    return Server(name, command, env, port, folder / f"{name}.log")
