"""The sixteen faults that an upstream can have, each through the real proxy and the official OpenAI client.

A whole answer is `WHOLE`: sixty words. The model that takes over in the middle is told by a rule what is left
to say, so the joined text shows whether anything was lost or said twice.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise
from typing import Any

import httpx
import openai
import pytest

from sentinella_plugins.demo import Demo
from tests.gateway import Gateway, Key, events, question, running_gateway

CHAT = "/v1/chat/completions"
PIPED, THROUGH_LITELLM = "gpt-4o-mini", "claude-haiku-5-5"
WORDS = [f"word{number} " for number in range(1, 61)]
WHOLE = "".join(WORDS)
INSTRUCTION = "was cut off by a technical fault"
FIRST_BYTE_S = 12.0
PATIENCE_S = 2.0
QUIET = {
    "SENTINELLA_FALLBACK__BREAKER__QUIET_FAILURES": "10000",
    "SENTINELLA_FALLBACK__BREAKER__MIN_CALLS": "1000000",
    "SENTINELLA_FALLBACK__FIRST_BYTE_S": str(PATIENCE_S),
    "SENTINELLA_FALLBACK__IDLE_S": str(PATIENCE_S),
}
both_roads = pytest.mark.parametrize("model", [PIPED, THROUGH_LITELLM])
both_ways = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


@dataclass
class Heard:
    """What a client got of one call. Seconds from the request; `first_s` is the first text or the answer."""

    text: str = ""
    reasons: list[str] = field(default_factory=list)
    roles: list[str] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    models: list[str] = field(default_factory=list)
    told: dict[str, Any] = field(default_factory=dict)
    headers: httpx.Headers = field(default_factory=httpx.Headers)
    first_s: float = 0.0
    error: openai.APIError | None = None

    @property
    def attempts(self) -> list[dict[str, Any]]:
        """Of the answer, or of the error that stands in its place."""
        body: Any = self.error.body if self.error else self.told
        return list(body["attempts"])


def ask(gateway: Gateway, key: Key, model: str, *, stream: bool, **more: Any) -> Heard:
    heard, began = Heard(), time.monotonic()
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=key.key, max_retries=0, timeout=90) as client:
        create: Any = client.chat.completions.with_raw_response.create
        try:
            raw = create(**question("Count.", model), stream=stream, **more)
            heard.headers = raw.headers
            if stream:
                with closing(raw.parse()) as chunks:
                    _listen(heard, chunks, began)
            else:
                _read(heard, raw.parse(), began)
        except openai.APIError as error:
            heard.error = error
    return heard


def _read(heard: Heard, answer: Any, began: float) -> None:
    heard.first_s = time.monotonic() - began
    heard.text = answer.choices[0].message.content or ""
    heard.reasons = [answer.choices[0].finish_reason]
    heard.ids, heard.models, heard.told = {answer.id}, [answer.model], answer.model_extra["sentinella"]


def _listen(heard: Heard, chunks: Any, began: float) -> None:
    for chunk in chunks:
        heard.ids.add(chunk.id)
        heard.models.append(chunk.model)
        heard.told = (chunk.model_extra or {}).get("sentinella") or heard.told
        for choice in chunk.choices:
            heard.roles += [choice.delta.role] if choice.delta.role else []
            heard.reasons += [choice.finish_reason] if choice.finish_reason else []
            if choice.delta.content:
                heard.first_s = heard.first_s or time.monotonic() - began
                heard.text += choice.delta.content


@pytest.fixture(scope="module")
def quiet_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Its breakers never open, so that one test's failures are not the next one's, and it is impatient."""
    with running_gateway(tmp_path_factory.mktemp("faults"), env=QUIET) as gateway:
        yield gateway


@pytest.fixture
def gateway(quiet_gateway: Gateway) -> Iterator[Gateway]:
    quiet_gateway.demo.clear()
    yield quiet_gateway
    quiet_gateway.demo.clear()
    assert quiet_gateway.held() == []


@pytest.fixture
def demo(gateway: Gateway) -> Demo:
    return gateway.demo


@pytest.fixture
def key(gateway: Gateway) -> Key:
    return gateway.tenant(cost_per_day_usd="5")


def teach(demo: Demo, model: str, fault: dict[str, Any], *, said: int = 0, times: int | None = None) -> None:
    """`model` has the fault; whoever goes on after `said` words says the rest, anybody else all."""
    rest = {"chunks": WORDS[said:]}
    demo.rule(prefill=True, reply=rest)
    demo.rule(contains=INSTRUCTION, reply=rest)
    demo.rule(model=model, fault=fault, reply={"chunks": WORDS}, times=times)
    demo.rule(reply={"chunks": WORDS})


def check_success(gateway: Gateway, key: Key, heard: Heard, model: str) -> dict[str, Any]:
    """Everything that must be true of an answer that another model gave; its line in the ledger."""
    assert heard.error is None, heard.error
    assert heard.text == WHOLE and heard.reasons == ["stop"]
    assert len(heard.ids) == 1 and 0 < heard.first_s < FIRST_BYTE_S
    first, *_, last = heard.attempts
    assert (first["model"], last["status"], last["error"]) == (model, "success", None)
    assert first["status"] in ("error", "cancelled") and first["error"]
    assert last["provider"] != first["provider"]
    assert (heard.told["model"], heard.told["provider"]) == (last["model"], last["provider"])
    assert heard.models[-1] == last["model"]
    assert heard.headers["x-request-id"] == heard.told["request_id"]
    (line,) = gateway.calls(key)
    assert (line["status"], line["error_code"]) == ("success", None)
    assert (line["model"], line["provider"]) == (last["model"], last["provider"])
    cost = sum(Decimal(str(attempt["cost_usd"])) for attempt in heard.attempts)
    assert Decimal(line["cost_usd"]) == cost == Decimal(str(heard.told["cost_usd"])) > 0
    return line


BEFORE: dict[str, tuple[dict[str, Any], int | None, str]] = {
    "429 with Retry-After": ({"status": 429, "retry_after": 1}, 1, "upstream_rate_limited"),
    "429 with a long Retry-After": ({"status": 429, "retry_after": 3600}, None, "upstream_rate_limited"),
    "persistent 429": ({"status": 429}, None, "upstream_rate_limited"),
    "one 500": ({"status": 500}, 1, "upstream_error"),
    "persistent 500": ({"status": 500}, None, "upstream_error"),
    "503": ({"status": 503}, None, "upstream_unavailable"),
    "reset": ({"reset": True}, None, ""),
    "garbage": ({"garbage": True}, None, ""),
}


@both_ways
@both_roads
@pytest.mark.parametrize("kind", BEFORE)
def test_before_the_first_word(
    gateway: Gateway, demo: Demo, key: Key, kind: str, model: str, stream: bool
) -> None:
    fault, times, code = BEFORE[kind]
    teach(demo, model, fault, times=times)
    heard = ask(gateway, key, model, stream=stream)
    line = check_success(gateway, key, heard, model)
    assert code in ("", heard.attempts[0]["error"]) and heard.attempts[0]["cost_usd"] == 0
    assert len(heard.attempts) == 2
    assert (line["prompt_tokens"], line["completion_tokens"]) == (5, 60), "the provider's own numbers"
    assert heard.headers["x-sentinella-model"] == heard.attempts[-1]["model"]
    if not stream:
        assert Decimal(heard.headers["x-sentinella-cost-usd"]) == Decimal(line["cost_usd"])
    assert set(heard.models) == {heard.attempts[-1]["model"]}, "the first model was never heard of"


LATE: dict[str, dict[str, Any]] = {
    "silence": {"silent_s": 120},
    "late first token": {"first_token_delay_s": 20},
    "stall": {"stall_after": 0, "stall_s": 30},
}


@pytest.mark.slow
def test_silence(gateway: Gateway, demo: Demo) -> None:
    """All at once: both roads, both ways, every kind; a streaming model is left, beside another one is
    asked. Twice, since what was learned from the first time must not make the second one slower."""
    for round_ in range(2):
        for kind, fault in LATE.items():
            demo.clear()
            for model in (PIPED, THROUGH_LITELLM):
                demo.rule(model=model, fault=fault, reply={"chunks": WORDS})
            demo.rule(reply={"chunks": WORDS})
            cases = [(model, stream) for model in (PIPED, THROUGH_LITELLM) for stream in (False, True)]
            keys = [gateway.tenant() for _ in cases]
            with ThreadPoolExecutor(len(cases)) as pool:
                answers = list(pool.map(lambda c, k: ask(gateway, k, c[0], stream=c[1]), cases, keys))
            for (model, stream), key, heard in zip(cases, keys, answers, strict=True):
                check_success(gateway, key, heard, model)
                expected = "upstream_silent" if stream else "hedged"
                assert heard.attempts[0]["error"] == expected, (round_, kind, model, heard.attempts)
                assert PATIENCE_S * 0.9 < heard.first_s < PATIENCE_S + 4, (round_, kind, model, stream)


# A pause before the broken chunk: what came in one piece with it is lost with it.
IN_THE_MIDDLE: dict[str, tuple[dict[str, Any], str]] = {
    "cut": ({"cut_after": 40}, "upstream_connection"),
    "reset": ({"cut_after": 40, "reset": True}, "upstream_connection"),
    "end without a reason": ({"end_after": 40}, "stream_interrupted"),
    "stall": ({"stall_after": 40, "stall_s": 30}, "upstream_stalled"),
    "malformed": ({"malformed_after": 40, "stall_after": 40, "stall_s": 0.2}, ""),
}


@both_roads
@pytest.mark.parametrize("kind", IN_THE_MIDDLE)
def test_in_the_middle_of_a_stream(gateway: Gateway, demo: Demo, key: Key, kind: str, model: str) -> None:
    fault, code = IN_THE_MIDDLE[kind]
    teach(demo, model, fault, said=40)
    heard = ask(gateway, key, model, stream=True, stream_options={"include_usage": True})
    line = check_success(gateway, key, heard, model)
    assert code in ("", heard.attempts[0]["error"]) and len(heard.attempts) == 2
    assert heard.roles == ["assistant"], "one message, whoever spoke"
    assert list(dict.fromkeys(heard.models)) == [model, heard.attempts[1]["model"]]
    assert all(attempt["cost_usd"] > 0 for attempt in heard.attempts), "text that came is paid"
    assert line["completion_tokens"] >= 60
    told = demo.requests()[-1]["body"]["messages"]
    assert "".join(WORDS[:40]).strip() in json.dumps(told), "the next model knows what was said"


BREAKS: dict[str, dict[str, Any]] = {
    "cut": {"cut_after": 40},
    "reset": {"cut_after": 40, "reset": True},
    "malformed": {"malformed_after": 40},
}


@both_roads
@pytest.mark.parametrize("kind", BREAKS)
def test_a_whole_answer_that_breaks_off(
    gateway: Gateway, demo: Demo, key: Key, kind: str, model: str
) -> None:
    teach(demo, model, BREAKS[kind])
    check_success(gateway, key, ask(gateway, key, model, stream=False), model)


@both_roads
def test_no_done_after_a_proper_end_is_a_success(gateway: Gateway, demo: Demo, key: Key, model: str) -> None:
    teach(demo, model, {"no_done": True})
    heard = ask(gateway, key, model, stream=True)
    assert (heard.error, heard.text, heard.reasons) == (None, WHOLE, ["stop"])
    assert [(a["model"], a["status"]) for a in heard.attempts] == [(model, "success")]
    assert demo.counts()["total"] == 1


@both_ways
@both_roads
def test_too_long_a_prompt_goes_to_a_longer_window(
    gateway: Gateway, demo: Demo, key: Key, model: str, stream: bool
) -> None:
    teach(demo, model, {"status": 400, "code": "context_length_exceeded"})
    heard = ask(gateway, key, model, stream=stream)
    check_success(gateway, key, heard, model)
    with gateway.client(key) as client:
        windows = {card["id"]: card["context_window"] for card in client.get("/v1/models").json()["data"]}
    assert heard.attempts[0]["error"] == "context_length_exceeded"
    assert windows[heard.attempts[1]["model"]] > windows[model]


@both_ways
@both_roads
def test_a_content_filter_is_not_routed_round(
    gateway: Gateway, demo: Demo, key: Key, model: str, stream: bool
) -> None:
    teach(demo, model, {"status": 400, "code": "content_policy_violation"})
    heard = ask(gateway, key, model, stream=stream)
    assert isinstance(heard.error, openai.BadRequestError) and heard.error.code == "content_filter"
    assert [a["model"] for a in heard.attempts] == [model] and demo.counts()["total"] == 1
    (line,) = gateway.calls(key)
    assert (line["status"], line["error_code"], line["cost_usd"]) == ("error", "content_filter", "0.00")


@both_ways
@both_roads
def test_a_filtered_answer_is_not_asked_for_elsewhere(
    gateway: Gateway, demo: Demo, key: Key, model: str, stream: bool
) -> None:
    teach(demo, model, {"content_filter": True})
    heard = ask(gateway, key, model, stream=stream)
    assert heard.error is None and heard.reasons == ["content_filter"]
    assert demo.counts()["total"] == 1


@both_roads
def test_prefill_where_the_model_knows_it(gateway: Gateway, demo: Demo, key: Key, model: str) -> None:
    teach(demo, model, {"cut_after": 40}, said=40)
    heard = ask(gateway, key, model, stream=True, extra_body={"routing": {"providers": ["mistral"]}})
    check_success(gateway, key, heard, model)
    last = demo.requests()[-1]["body"]["messages"][-1]
    assert (last["role"], last["content"].split()) == ("assistant", "".join(WORDS[:40]).split())


@both_roads
def test_the_next_model_rejects_prefill(gateway: Gateway, demo: Demo, key: Key, model: str) -> None:
    """It is asked once more, for the rest in words; the client notices nothing."""
    demo.rule(prefill=True, fault={"status": 400, "message": "The last message must be the user's."})
    teach(demo, model, {"cut_after": 40}, said=40)
    heard = ask(gateway, key, model, stream=True, extra_body={"routing": {"providers": ["mistral"]}})
    check_success(gateway, key, heard, model)
    assert [a["error"] for a in heard.attempts][1:] == ["upstream_rejected_request", None]
    assert len({a["model"] for a in heard.attempts[1:]}) == 1
    assert "restart" not in json.dumps(heard.told)


@both_roads
def test_half_an_answer_is_never_sold_as_whole(gateway: Gateway, demo: Demo, key: Key, model: str) -> None:
    """Every model breaks off: the client of the official library gets an exception, not a short text."""
    demo.rule(fault={"cut_after": 10}, reply={"chunks": WORDS})
    heard = ask(gateway, key, model, stream=True)
    assert heard.error is not None and heard.reasons == []
    assert len(heard.attempts) == 4 and {a["status"] for a in heard.attempts} == {"error"}
    (line,) = gateway.calls(key)
    assert line["status"] == "error" and line["error_code"] == heard.error.code
    paid = sum(Decimal(str(attempt["cost_usd"])) for attempt in heard.attempts)
    assert Decimal(line["cost_usd"]) == paid > 0


@both_roads
def test_no_done_after_an_error(gateway: Gateway, demo: Demo, key: Key, model: str) -> None:
    demo.rule(fault={"end_after": 10}, reply={"chunks": WORDS})
    answer = httpx.post(
        gateway.url + CHAT,
        json=question(model=model, stream=True),
        headers=key.headers,
        timeout=60,
        trust_env=False,
    )
    data = events(answer.text.splitlines())
    assert "[DONE]" not in data and json.loads(data[-1])["error"]["code"]
    assert not any(choice["finish_reason"] for part in data[:-1] for choice in json.loads(part)["choices"])


def test_two_choices_cannot_be_continued(gateway: Gateway, demo: Demo, key: Key) -> None:
    demo.rule(model=PIPED, fault={"end_after": 10}, reply={"chunks": WORDS})
    heard = ask(gateway, key, PIPED, stream=True, n=2)
    assert heard.error is not None and heard.reasons == [] and len(heard.attempts) == 1


def test_half_a_tool_call_cannot_be_continued(gateway: Gateway, demo: Demo, key: Key) -> None:
    calls = [{"name": "look", "arguments": {"at": place}} for place in ("here", "there")]
    demo.rule(model=PIPED, fault={"cut_after": 1}, reply={"tool_calls": calls})
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    heard = ask(gateway, key, PIPED, stream=True, tools=[tool])
    assert heard.error is not None and heard.reasons == [] and len(heard.attempts) == 1


OTHER_ROADS = ["gemini-2.5-flash", "mistral-large", "grok-4.7", "command-a-03-2025", "deepseek-v4-flash"]
OTHER_ROADS += ["gpt-oss-120b", "llama-3.1-8b"]


@pytest.mark.parametrize("model", OTHER_ROADS)
@pytest.mark.parametrize("kind", ["cut", "end without a reason", "malformed"])
def test_no_provider_breaks_off_unnoticed(
    gateway: Gateway, demo: Demo, key: Key, kind: str, model: str
) -> None:
    fault = IN_THE_MIDDLE[kind][0]
    rest = {"chunks": WORDS[40:]}
    demo.rule(prefill=True, reply=rest)
    demo.rule(contains=INSTRUCTION, reply=rest)
    demo.rule(fault=fault, reply={"chunks": WORDS}, times=1)
    heard = ask(gateway, key, model, stream=True)
    assert heard.error is None and (heard.text, heard.reasons) == (WHOLE, ["stop"])


@both_ways
@both_roads
def test_the_cost_belongs_to_the_model_that_answered(
    gateway: Gateway, demo: Demo, key: Key, model: str, stream: bool
) -> None:
    demo.rule(model=model, fault={"status": 503})
    demo.rule(reply={"text": "Yes.", "usage": {"prompt": 1_000, "completion": 500}})
    heard = ask(gateway, key, model, stream=stream)
    failed, answered = heard.attempts
    with gateway.client(key) as client:
        cards = {card["id"]: card["pricing"] for card in client.get("/v1/models").json()["data"]}
    price = {name: Decimal(str(value)) for name, value in cards[answered["model"]].items() if value}
    cost = (price["input_usd_per_million_tokens"] + price["output_usd_per_million_tokens"] / 2) / 1_000
    assert (failed["cost_usd"], Decimal(str(answered["cost_usd"]))) == (0, cost)
    (line,) = gateway.calls(key)
    assert (line["model"], line["requested_model"], Decimal(line["cost_usd"])) == (
        answered["model"],
        model,
        cost,
    )
    assert (line["prompt_tokens"], line["completion_tokens"]) == (1_000, 500)
    usage = gateway.admin.get("/v1/usage", params={"tenant": key.tenant, "by": "model"}).json()
    assert model not in json.dumps(usage["data"])


@pytest.fixture(scope="module")
def default_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """With the settings as they are shipped."""
    with running_gateway(tmp_path_factory.mktemp("defaults")) as gateway:
        yield gateway


@pytest.mark.slow
def test_nobody_waits_longer_than_twelve_seconds(default_gateway: Gateway) -> None:
    """Twice: the second time the breakers know more."""
    gateway = default_gateway
    demo = gateway.demo
    faults: dict[str, dict[str, Any]] = {
        "gpt-4o-mini": {"silent_s": 120},
        "claude-haiku-5-5": {"first_token_delay_s": 20},
    }
    # Two faults at once would be two waits: none of these stands in for the other.
    away = {"extra_body": {"routing": {"exclude": list(faults)}}}
    for _ in range(2):
        demo.clear()
        for model, fault in faults.items():
            demo.rule(model=model, fault=fault)
        demo.rule(reply={"chunks": WORDS})
        cases = [(model, stream) for model in faults for stream in (False, True)]
        keys = [gateway.tenant() for _ in cases]
        with ThreadPoolExecutor(len(cases)) as pool:
            answers = pool.map(lambda c, k: ask(gateway, k, c[0], stream=c[1], **away), cases, keys)
            for case, heard in zip(cases, answers, strict=True):
                assert heard.error is None and heard.text == WHOLE, (case, heard.error)
                assert heard.first_s < FIRST_BYTE_S, (case, heard.attempts)


def while_it_flaps(seconds: float, phase_s: float, switch: Callable[[bool], None]) -> Iterator[float]:
    """A moment for every call, ten in a second; `switch` breaks and mends."""
    began, broken = time.monotonic(), None
    while (elapsed := time.monotonic() - began) < seconds:
        now_broken = int(elapsed / phase_s) % 2 == 0
        if now_broken is not broken:
            broken = now_broken
            switch(broken)
        yield elapsed
        time.sleep(0.1)


@pytest.mark.slow
@both_ways
def test_a_flapping_model_costs_one_failure_per_window(default_gateway: Gateway, stream: bool) -> None:
    gateway, model = default_gateway, "gpt-4.1-mini" if stream else "gpt-4.1"
    demo, key = gateway.demo, gateway.tenant()
    pause_s = 5.0  # `fallback.breaker.open_s`

    def switch(broken: bool) -> None:
        demo.clear()
        if broken:
            demo.rule(model=model, fault={"status": 500})

    failed: list[float] = []
    told: list[dict[str, Any]] = []
    for moment in while_it_flaps(18, 1.3, switch):
        heard = ask(gateway, key, model, stream=stream)
        assert heard.error is None, heard.error
        failed += [moment for attempt in heard.attempts if attempt["status"] == "error"]
        health = gateway.admin.get("/v1/router/health").json()["data"]
        told += [entry for entry in health if entry["model"] == model and entry["state"] == "open"]
    assert told and told[0]["reason"] and told[0]["until"] and told[0]["last_error"] == "upstream_error"
    later = [moment for moment in failed if moment > 1.3]
    gaps = [after - before for before, after in pairwise(later)]
    assert all(gap > pause_s * 0.9 for gap in gaps), failed
    assert len(failed) <= 5 + 18 / pause_s, failed
    demo.clear()


def test_health_tells_of_every_model(default_gateway: Gateway) -> None:
    names = {entry["model"]: entry for entry in default_gateway.admin.get("/v1/router/health").json()["data"]}
    assert names["mistral-small"]["state"] == "closed" and names["mistral-small"]["until"] is None
