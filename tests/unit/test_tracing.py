from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from sentinella_plugins.kernel.access import Guard
from sentinella_plugins.kernel.call import (
    ANONYMOUS,
    Attempt,
    Call,
    Outcome,
    Principal,
    Recalled,
    Rendered,
    Usage,
)
from sentinella_plugins.kernel.errors import Forbidden, Unauthenticated, UpstreamFailed
from sentinella_plugins.kernel.events import BreakerClosed, BreakerOpened, Events, FellBack, PartFailed
from sentinella_plugins.kernel.money import Nano
from sentinella_plugins.tracing.config import TracingConfig
from sentinella_plugins.tracing.labels import Bounded
from sentinella_plugins.tracing.metrics import Metrics
from sentinella_plugins.tracing.routes import router
from sentinella_plugins.tracing.service import TracingService
from sentinella_plugins.tracing.stage import TracingStage

DOCS = Path(__file__).parents[2] / "docs/reference/metrics.md"
ACME = Principal(tenant="acme", key_id="key_1")
ANSWER = Outcome(
    status="success",
    model="gpt-4o",
    provider="openai",
    usage=Usage(prompt=100, completion=20, cached=50),
    cost=Nano(1_500_000_000),
    latency_ms=700.0,
    first_token_ms=200.0,
)


def call(**changes: object) -> Call:
    plain = Call(
        id="req_1",
        route="/v1/chat/completions",
        model="auto",
        body={"messages": [{"role": "user", "content": "my private question"}]},
        principal=ACME,
        received_at=0.0,
        started=0.0,
    )
    return plain.evolve(**changes)


def scrape(metrics: Metrics) -> dict[str, float]:
    text = metrics.exposition()[0].decode()
    samples = (row.rsplit(" ", 1) for row in text.splitlines() if not row.startswith("#"))
    return {name: float(value) for name, value in samples}


def test_every_metric_is_documented() -> None:
    documented = re.findall(r"^\| `(sentinella_\w+)`", DOCS.read_text(), re.MULTILINE)
    assert sorted(documented) == Metrics(500).names()


def test_every_label_is_documented() -> None:
    metrics = Metrics(500)
    metrics.left(call(), ANSWER)
    metrics.left(call(), Outcome(status="refused", error=Forbidden()))
    metrics.part_failed("cache")
    table = {row.split("`")[1]: row for row in DOCS.read_text().splitlines() if row.startswith("| `")}
    for sample in scrape(metrics):
        name, _, rest = sample.partition("{")
        row = table[re.sub("_(bucket|sum|count)$", "", name)]
        assert all(f"`{label}`" in row for label in re.findall(r'(\w+)="', rest) if label != "le")


def test_a_call_is_counted() -> None:
    metrics = Metrics(500)
    metrics.entered(call())
    assert scrape(metrics)["sentinella_inflight"] == 1
    metrics.left(call(), ANSWER)
    samples = scrape(metrics)
    who = 'code="-",model="gpt-4o",provider="openai"'
    labels = f'{who},route="/v1/chat/completions",status="success",tenant="acme"'
    assert samples[f"sentinella_requests_total{{{labels}}}"] == 1
    assert samples['sentinella_tokens_total{kind="prompt",model="gpt-4o",tenant="acme"}'] == 100
    assert samples['sentinella_tokens_total{kind="completion",model="gpt-4o",tenant="acme"}'] == 20
    assert samples['sentinella_tokens_total{kind="cached",model="gpt-4o",tenant="acme"}'] == 50
    assert samples['sentinella_cost_usd_total{model="gpt-4o",tenant="acme"}'] == 1.5
    assert samples['sentinella_request_seconds_sum{model="gpt-4o",stream="false"}'] == 0.7
    assert samples['sentinella_first_token_seconds_sum{model="gpt-4o"}'] == 0.2
    assert samples["sentinella_inflight"] == 0
    assert not any("_created" in name for name in samples)


def test_what_a_call_was_made_of_is_counted() -> None:
    metrics = Metrics(500)
    for messages, summarised in ((2, False), (10, True)):
        metrics.left(call().with_note(Recalled(messages, summarised)).with_note(Rendered("greet", 3)), ANSWER)
    metrics.left(call().with_note(Rendered("greet", 4)), ANSWER)
    metrics.session_summarised("extractive")
    samples = scrape(metrics)
    assert samples['sentinella_session_calls_total{summarised="true",tenant="acme"}'] == 1
    assert samples["sentinella_session_messages_sum"] == 12
    assert samples['sentinella_session_summaries_total{kind="extractive"}'] == 1
    assert samples['sentinella_template_calls_total{template="greet@3",tenant="acme"}'] == 2
    assert samples['sentinella_template_calls_total{template="greet@4",tenant="acme"}'] == 1


def test_a_refusal_is_counted_apart() -> None:
    metrics = Metrics(500)
    metrics.left(call(principal=ANONYMOUS), Outcome(status="refused", error=Unauthenticated()))
    samples = scrape(metrics)
    assert samples['sentinella_refusals_total{code="invalid_api_key",tenant="-"}'] == 1
    assert not any(name.startswith("sentinella_requests_total") for name in samples)
    assert samples["sentinella_inflight"] == 0


def test_labels_are_bounded() -> None:
    label = Bounded(2)
    assert [label(value) for value in ("a", "b", "c", "a", "", "\ud800")] == [
        "a",
        "b",
        "other",
        "a",
        "-",
        "other",
    ]
    assert label("d", admit=False) == "other"


def test_invented_models_do_not_become_labels() -> None:
    metrics = Metrics(500, known=lambda name: name == "gpt-4o")
    failed = UpstreamFailed()
    for number in range(20):
        metrics.left(call(), Outcome(status="error", model=f"invented-{number}", error=failed))
    attempts = (Attempt(model="gpt-4o", provider="openai", status="error", ms=1.0),)
    metrics.left(call(), Outcome(status="error", attempts=attempts, error=failed))
    metrics.left(call(), Outcome(status="success", model="wildcard-that-answers"))
    models = {match for name in scrape(metrics) for match in re.findall(r'model="([^"]*)"', name)}
    assert models == {"other", "gpt-4o", "wildcard-that-answers"}


@pytest.mark.asyncio
async def test_failover_is_counted() -> None:
    service, events = TracingService(TracingConfig()), Events()
    service.listen(events)
    fell = FellBack(at=0, tenant="acme", request_id="r", from_model="a", to_model="b", code="upstream_error")
    await events.publish(fell)
    await events.publish(
        BreakerOpened(at=0, tenant="", model="a", reason="error_rate", until=5, error_rate=1)
    )
    samples = scrape(service.metrics)
    assert samples['sentinella_fallbacks_total{code="upstream_error",failed="a",model="b"}'] == 1
    assert samples['sentinella_breaker_open{model="a"}'] == 1
    await events.publish(BreakerClosed(at=1, tenant="", model="a"))
    assert scrape(service.metrics)['sentinella_breaker_open{model="a"}'] == 0


@pytest.mark.asyncio
async def test_events_and_stage() -> None:
    service = TracingService(TracingConfig())
    events = Events()
    service.listen(events)
    await events.publish(PartFailed(at=0.0, tenant="acme", part="cache", error="down"))
    stage = TracingStage(service)
    assert await stage.enter(call()) == call()
    await stage.leave(call(), ANSWER)
    service.metrics.ledger_spooled(42)
    samples = scrape(service.metrics)
    assert samples['sentinella_part_failures_total{part="cache"}'] == 1
    assert samples["sentinella_ledger_spooled_bytes"] == 42


def test_the_scrape_is_guarded() -> None:
    async def refuse() -> Principal:
        raise Forbidden

    async def allow() -> Principal:
        return ACME

    service = TracingService(TracingConfig())
    app = FastAPI()
    app.include_router(router(service, Guard(member=refuse, admin=refuse, metrics=allow)))
    answer = TestClient(app).get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert "sentinella_inflight 0.0" in answer.text
    openmetrics = TestClient(app).get(
        "/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"}
    )
    assert openmetrics.text.endswith("# EOF\n")
    shut = FastAPI()
    shut.include_router(router(service, Guard(member=allow, admin=allow, metrics=refuse)))
    with pytest.raises(Forbidden):
        TestClient(shut).get("/metrics")


WORKER = """
from prometheus_client import Counter
from sentinella_plugins.kernel.call import Call, Outcome, Principal
from sentinella_plugins.tracing.metrics import Metrics
import sys
Counter("litellm_things_total", "not ours").inc()
metrics = Metrics(500)
call = Call(id="r", route="/v1/chat/completions", model="m", body={}, received_at=0.0, started=0.0,
            principal=Principal(tenant="acme", key_id="k"))
metrics.entered(call.evolve(id="open"))
metrics.left(call, Outcome(status="success", model="m", provider="p"))
sys.stdout.write(metrics.exposition()[0].decode())
"""


def test_one_scrape_shows_all_workers(tmp_path: Path) -> None:
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    texts = [
        subprocess.run(
            [sys.executable, "-c", WORKER], env=environment, capture_output=True, text=True, check=True
        ).stdout
        for _ in range(2)
    ]
    [requests] = [row for row in texts[1].splitlines() if row.startswith("sentinella_requests_total{")]
    assert requests.endswith(" 2.0")
    assert "sentinella_inflight 2.0" in texts[1]
    assert "litellm" not in texts[1]
    assert 'pid="' not in texts[1]
