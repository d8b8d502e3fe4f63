"""Too much at once, and an orderly end: nobody waits for ever, nothing is lost, nothing stays held."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.gateway import Gateway, events, question, running_gateway
from tests.servers import wait_until

CHAT = "/v1/chat/completions"


async def ask(gateway: Gateway, key: Any, **fields: Any) -> httpx.Response:
    async with httpx.AsyncClient(base_url=gateway.url, timeout=30, trust_env=False) as client:
        return await client.post(CHAT, json=question(**fields), headers=key.headers)


def terminate(gateway: Gateway) -> None:
    for pid in gateway.worker_pids():
        os.kill(pid, signal.SIGTERM)


@pytest.mark.asyncio
async def test_beyond_its_places_and_its_queue_a_worker_refuses_at_once(tmp_path: Path) -> None:
    env = {"SENTINELLA_TRAFFIC__MAX_RUNNING": "2", "SENTINELLA_TRAFFIC__MAX_WAITING": "3"}
    with running_gateway(tmp_path, env=env) as gateway:
        gateway.demo.rule(fault={"delay_s": 1.0})
        many, one = gateway.tenant("many"), gateway.tenant("one")
        flood = [asyncio.create_task(ask(gateway, many)) for _ in range(8)]
        await asyncio.sleep(0.4)
        answers = await asyncio.gather(*flood)
        codes = sorted(answer.status_code for answer in answers)
        assert codes == [200] * 5 + [503] * 3
        refused = next(answer for answer in answers if answer.status_code == 503)
        assert refused.json()["error"]["code"] == "overloaded"
        assert refused.headers["retry-after"] == "1"
        assert (await ask(gateway, one)).status_code == 200
        assert gateway.held() == []


@pytest.mark.asyncio
async def test_a_call_and_a_stream_end_before_the_gateway_does(tmp_path: Path) -> None:
    with running_gateway(tmp_path) as gateway:
        key = gateway.tenant(requests_per_day=100, cost_per_day_usd="1")
        gateway.demo.rule(stream=False, fault={"delay_s": 1.5})
        gateway.demo.rule(stream=True, fault={"stall_after": 3, "stall_s": 1.5})
        whole = asyncio.create_task(ask(gateway, key))
        stream = asyncio.create_task(ask(gateway, key, stream=True))
        await asyncio.sleep(0.8)
        assert gateway.demo.counts()["in_flight"] == 2
        terminate(gateway)
        answers = await asyncio.gather(whole, stream)
        assert [answer.status_code for answer in answers] == [200, 200]
        assert events(answers[1].text.splitlines())[-1] == "[DONE]"
        assert gateway.sql("SELECT count(*) FROM ledger WHERE status = 'success'") == [(2,)]
        assert gateway.held() == []


@pytest.mark.asyncio
async def test_what_does_not_end_in_time_is_broken_off_and_settled(tmp_path: Path) -> None:
    with running_gateway(tmp_path, env={"SENTINELLA_TRAFFIC__DRAIN_S": "1"}) as gateway:
        key = gateway.tenant(requests_per_day=100, cost_per_day_usd="1")
        gateway.demo.rule(fault={"silent_s": 60})
        hanging = asyncio.create_task(ask(gateway, key))
        await asyncio.sleep(1.0)
        began = time.monotonic()
        terminate(gateway)
        with pytest.raises(httpx.HTTPError):
            (await hanging).raise_for_status()
        assert time.monotonic() - began < 15
        wait_until(lambda: gateway.sql("SELECT status FROM ledger") == [("cancelled",)])
        assert gateway.held() == []


def test_aliases_and_fallbacks_of_the_proxys_own_yaml_are_in_the_plan(tmp_path: Path) -> None:
    def change(config: dict[str, Any]) -> None:
        config["router_settings"]["model_group_alias"] = {"house-model": "gpt-4o-mini"}
        config["router_settings"]["fallbacks"] = [{"gpt-4o-mini": ["claude-haiku-5-5"]}]

    with running_gateway(tmp_path, yaml_changes=change) as gateway, gateway.client() as client:
        plain = client.post(CHAT, json=question(model="house-model"))
        assert plain.status_code == 200, plain.text
        gateway.demo.rule(provider="openai", fault={"status": 500})
        answer = client.post(CHAT, json=question(model="house-model")).json()
        tried = [(attempt["model"], attempt["status"]) for attempt in answer["sentinella"]["attempts"]]
        assert tried[0][1] == "error"
        assert tried[-1] == ("claude-haiku-5-5", "success")
        assert answer["model"] == "claude-haiku-5-5"
