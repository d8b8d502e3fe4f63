"""kill -9, restart, first start: no ledger line lost or doubled, nothing held for ever, no key shown
twice."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from sentinella_plugins.kernel.money import nano
from tests.gateway import ROOT, Gateway, Key, Proxy, events, question, running_gateway
from tests.servers import wait_until

CHAT = "/v1/chat/completions"
QUICK = {"SENTINELLA_TENANCY__LEASE_S": "3", "SENTINELLA_TENANCY__HEARTBEAT_S": "1"}
LIMITS = {"requests_per_day": 10_000, "cost_per_day_usd": "100", "max_concurrency": 1_000}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running_gateway(tmp_path_factory.mktemp("crash"), workers=2, env=QUICK) as gateway:
        yield gateway


async def ask(client: httpx.AsyncClient, stream: bool) -> str | None:
    """The request id of a complete answer, else nothing."""
    try:
        answer = await client.post(CHAT, json=question(stream=stream))
    except httpx.HTTPError:
        return None
    complete = answer.status_code == 200 and (not stream or events(answer.text.splitlines())[-1] == "[DONE]")
    return answer.headers["x-request-id"] if complete else None


async def killed_meanwhile(gateway: Gateway, key: Key, kill: Any) -> tuple[list[str], int]:
    """200 calls, half of them streams; `kill` comes in their middle. Ids of those answered, and how many were
    not."""
    gateway.demo.clear()
    gateway.demo.rule(every=2, fault={"first_token_delay_s": 1.5})
    gateway.demo.rule(fault={"first_token_delay_s": 0.2})
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    async with httpx.AsyncClient(
        base_url=gateway.url, headers=key.headers, timeout=60, limits=limits, trust_env=False
    ) as client:
        tasks = [asyncio.create_task(ask(client, bool(i % 2))) for i in range(200)]
        while sum(task.done() for task in tasks) < 60:
            await asyncio.sleep(0.005)
        kill()
        ids = await asyncio.gather(*tasks)
    answered = [request_id for request_id in ids if request_id]
    return answered, ids.count(None)


def check_books(gateway: Gateway, key: Key, answered: list[str], lost: int) -> None:
    assert len(answered) >= 60 and lost > 0, "the kill must come in the middle"
    began = time.monotonic()
    wait_until(lambda: not gateway.held(key.tenant), 60)
    assert time.monotonic() - began < 30
    lines = gateway.calls(key)
    counted = Counter(line["id"] for line in lines)
    assert max(counted.values()) == 1 and set(answered) <= set(counted)
    status = {line["id"]: line["status"] for line in lines}
    assert {status[request_id] for request_id in answered} == {"success"}
    assert len(lines) <= 200 and set(status.values()) <= {"success", "abandoned", "cancelled"}
    rows = gateway.sql("SELECT key, value FROM counters WHERE key LIKE ?", f"t:{key.tenant}|%")
    value = {name.split("|")[1]: amount for name, amount in rows}
    assert value.get("calls", 0) == 0
    assert value["requests"] == sum(line["status"] == "success" for line in lines)
    assert value["cost"] == sum(nano(line["cost_usd"]) for line in lines)


def _busiest(pids: list[int]) -> int:
    """Workers share one listening socket: one of them may have taken nearly all connections."""
    return max(pids, key=lambda pid: len(list(Path(f"/proc/{pid}/fd").iterdir())))


@pytest.mark.slow
@pytest.mark.asyncio
async def test_kill_one_worker(gateway: Gateway) -> None:
    key = gateway.tenant("worker", **LIMITS)
    pids = gateway.worker_pids()
    assert len(pids) == 2
    answered, lost = await killed_meanwhile(gateway, key, lambda: os.kill(_busiest(pids), signal.SIGKILL))
    check_books(gateway, key, answered, lost)


@pytest.mark.slow
@pytest.mark.asyncio
async def test_kill_all_and_start_again(gateway: Gateway) -> None:
    key = gateway.tenant("all", **LIMITS)
    used = gateway.tenant("used", requests_per_day=2)
    post = {"headers": used.headers, "json": question(), "timeout": 30, "trust_env": False}
    assert httpx.post(gateway.url + CHAT, **post).status_code == 200  # type: ignore[arg-type]
    answered, lost = await killed_meanwhile(gateway, key, gateway.kill9)
    gateway.demo.clear()
    gateway.start()
    check_books(gateway, key, answered, lost)
    assert gateway.admin.get(f"/v1/tenants/{key.tenant}").json()["limits"]["requests_per_day"] == 10_000
    codes = [httpx.post(gateway.url + CHAT, **post).status_code for _ in range(2)]  # type: ignore[arg-type]
    assert codes == [200, 429], "tenants, keys and what they used are still there"
    assert len(gateway.calls(used)) == 2


class Bare(Proxy):
    """No environment at all."""

    def healthy(self) -> bool:
        with suppress(httpx.HTTPError):
            answer = httpx.get(f"{self.url}/health", timeout=30, trust_env=False)
            return bool(answer.json()["status"] == "healthy")
        return False


@pytest.mark.slow
def test_a_first_start_without_any_environment(tmp_path: Path) -> None:
    shutil.copy(ROOT / "proxy_config.yaml", tmp_path)
    shutil.copytree(ROOT / "config", tmp_path / "config")
    data = tmp_path / ".sentinella"
    proxy = Bare(tmp_path, config=Path("proxy_config.yaml"))
    try:
        with proxy:
            kept = json.loads((data / "keys.json").read_text())
            assert (data / "keys.json").stat().st_mode & 0o777 == 0o600
            for key in kept.values():
                assert re.fullmatch(r"sk-sen-\w{46}", key)
            wait_until(lambda: "Sentinella is ready" in proxy.log(), 10)
            first = proxy.log()
            assert first.count(f"admin key   {kept['master_key']}") == 1
            assert first.count(f"tenant key  {kept['api_key']}") == 1
            headers = {"authorization": f"Bearer {kept['api_key']}"}
            chat: dict[str, Any] = {"json": question(), "headers": headers, "timeout": 30, "trust_env": False}
            assert httpx.post(proxy.url + CHAT, **chat).status_code == 200
            admin = {"authorization": f"Bearer {kept['master_key']}"}
            tenants = f"{proxy.url}/v1/tenants"
            made = httpx.post(tenants, json={"id": "acme"}, headers=admin, trust_env=False)
            assert made.status_code == 201
        with proxy:
            assert kept["api_key"] not in proxy.log()[len(first) :], "keys are shown once"
            assert kept["master_key"] not in proxy.log()[len(first) :]
            assert json.loads((data / "keys.json").read_text()) == kept
            assert httpx.post(proxy.url + CHAT, **chat).status_code == 200
            assert httpx.get(f"{tenants}/acme", headers=admin, trust_env=False).status_code == 200
            usage = httpx.get(f"{proxy.url}/v1/usage", headers=headers, trust_env=False).json()
            assert usage["total"]["requests"] == 2
            demo = json.loads((data / "demo.json").read_text())["pid"]
        wait_until(lambda: not alive(demo), 20)
    finally:
        with suppress(OSError, ValueError, KeyError):
            os.kill(json.loads((data / "demo.json").read_text())["pid"], signal.SIGKILL)


def alive(pid: int) -> bool:
    with suppress(OSError):
        return "sentinella_plugins.demo" in Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    return False


@pytest.mark.slow
def test_an_orderly_stop_loses_nothing(gateway: Gateway) -> None:
    """SIGTERM in the middle of calls: those that were answered are in the books."""
    key = gateway.tenant("stop", **LIMITS)
    with gateway.client(key) as client:
        ids = [client.post(CHAT, json=question()).headers["x-request-id"] for _ in range(20)]
    gateway.stop()
    lines = gateway.sql("SELECT request_id, status FROM ledger WHERE tenant = ?", key.tenant)
    assert sorted(lines) == sorted((request_id, "success") for request_id in ids)
    assert gateway.held(key.tenant) == []
