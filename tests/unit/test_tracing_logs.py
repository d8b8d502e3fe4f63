from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
from uvicorn.logging import AccessFormatter

from sentinella_plugins.kernel.call import ANONYMOUS, Call, Outcome, Principal
from sentinella_plugins.kernel.errors import Unauthenticated
from sentinella_plugins.kernel.secrets import new_key
from sentinella_plugins.tracing import logs
from sentinella_plugins.tracing.config import TracingConfig
from sentinella_plugins.tracing.service import TracingService

KEY = new_key()


@pytest.fixture(autouse=True)
def loggers_as_before() -> Iterator[None]:
    yield
    for name in logs.OWN:
        logger = logging.getLogger(name)
        for handler in list(logger.handlers):
            logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
        logger.propagate = True


def call(**changes: object) -> Call:
    plain = Call(
        id="req_1",
        route="/v1/chat/completions",
        model="gpt-4o",
        body={"messages": [{"role": "user", "content": "my private question"}]},
        principal=Principal(tenant="acme", key_id="key_1"),
        received_at=0.0,
        started=0.0,
    )
    return plain.evolve(**changes)


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(text) for text in capsys.readouterr().err.splitlines()]


def test_one_line_per_call_without_its_content(capsys: pytest.CaptureFixture[str]) -> None:
    config = TracingConfig()
    logs.configure(config)
    logs.configure(config)
    service = TracingService(config)
    outcome = Outcome(
        status="success", model="gpt-4o", provider="openai", latency_ms=12.34, body={"secret": "answer"}
    )
    service.leave(call(), outcome)
    [line] = lines(capsys)
    assert (line["request_id"], line["tenant"], line["model"], line["status"], line["ms"]) == (
        "req_1",
        "acme",
        "gpt-4o",
        "success",
        12.3,
    )
    assert (line["logger"], line["level"], line["cost_usd"]) == ("sentinella.access", "info", "0.00")
    assert "private" not in json.dumps(line)
    assert "answer" not in json.dumps(line)


def test_content_only_when_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    config = TracingConfig(log_content=True)
    logs.configure(config)
    body = {"messages": [{"role": "user", "content": f"my key is {KEY} \ud800"}]}
    TracingService(config).leave(call(body=body), Outcome(status="success", body={"choices": []}))
    text = capsys.readouterr().err
    assert "my key is" in text
    assert KEY not in text
    assert json.loads(text)["tenant"] == "acme"


def test_strangers_do_not_fill_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    config = TracingConfig()
    logs.configure(config)
    service = TracingService(config)
    service.leave(call(principal=ANONYMOUS), Outcome(status="refused", error=Unauthenticated()))
    service.leave(call(), Outcome(status="refused", error=Unauthenticated()))
    assert [line["code"] for line in lines(capsys)] == ["invalid_api_key"]
    logs.configure(TracingConfig(log_calls=False))
    TracingService(TracingConfig(log_calls=False)).leave(call(), Outcome(status="success"))
    assert lines(capsys) == []


def test_credentials_are_masked_wherever_they_stand(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(TracingConfig())
    logger = logging.getLogger("sentinella_plugins.somewhere.deep")
    logger.info("a key: %s and %d", KEY, 3)
    logger.info(f"in the text {KEY}")
    logger.info("Bearer %s", "abcdefghijklmnop")
    logger.info("%(key)s", {"key": KEY})
    logger.warning("broken %d", KEY)
    try:
        raise RuntimeError(f"with {KEY}")
    except RuntimeError:
        logger.exception("it failed")
    text = capsys.readouterr().err
    assert KEY not in text
    assert "abcdefghijklmnop" not in text
    assert "RuntimeError" in text
    assert len([json.loads(row) for row in text.splitlines()]) == 6


def test_other_loggers_are_masked_too_and_keep_their_format() -> None:
    logger = logging.getLogger("test.uvicorn.access")
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        AccessFormatter('%(client_addr)s "%(request_line)s" %(status_code)s', use_colors=False)
    )
    logger.addHandler(handler)
    logger.setLevel("INFO")
    logger.propagate = False
    logs.mask_loggers([logger.name])
    logs.mask_loggers([logger.name])
    assert len(handler.filters) == len(logger.filters) == 1
    logger.info('%s - "%s %s HTTP/%s" %d', "127.0.0.1", "GET", f"/v1/models?key={KEY}", "1.1", 200)
    assert KEY not in out.getvalue()
    assert out.getvalue().startswith('127.0.0.1 "GET /v1/models?key=sk-sen-...')
    logging.getLogger("test.uvicorn.access.child").info("from below %s", KEY)
    assert KEY not in out.getvalue()


def test_text_for_humans(capsys: pytest.CaptureFixture[str]) -> None:
    config = TracingConfig(log_format="text")
    logs.configure(config)
    TracingService(config).leave(call(), Outcome(status="success"))
    assert "status=success" in capsys.readouterr().err


def test_lines_within_a_call_carry_its_id(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(TracingConfig())
    token = logs.request_id.set("")
    TracingService(TracingConfig()).enter(call())
    logging.getLogger("sentinella_plugins.cache").warning("slow")
    logs.request_id.reset(token)
    [line] = lines(capsys)
    assert line["request_id"] == "req_1"


def test_settings_are_described() -> None:
    assert all(field.description for field in TracingConfig.model_fields.values())
