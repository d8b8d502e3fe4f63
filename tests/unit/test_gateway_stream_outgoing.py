"""What goes out to the client: chunks as they come, the last one when the books are closed."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from sentinella_plugins.gateway.stream import Outgoing
from sentinella_plugins.kernel.call import Call, Usage
from sentinella_plugins.kernel.errors import UpstreamFailed

ADDED = {"latency_ms": 1.5, "cached": False, "sentinella": {"request_id": "req_1"}}
USAGE = Usage(prompt=3, completion=2)


class Client:
    """Records what an ASGI server would be told."""

    def __init__(self) -> None:
        self.messages: list[Any] = []

    async def send(self, message: Any) -> None:
        self.messages.append(message)

    @property
    def raw(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages)

    @property
    def data(self) -> list[bytes]:
        return [event.removeprefix(b"data: ") for event in self.raw.split(b"\n\n") if event]

    @property
    def events(self) -> list[dict[str, Any]]:
        return [orjson.loads(data) for data in self.data if data != b"[DONE]"]

    @property
    def choices(self) -> list[dict[str, Any]]:
        return [choice for event in self.events for choice in event.get("choices") or ()]

    @property
    def over(self) -> bool:
        return self.messages[-1].get("more_body", False) is False


def outgoing(*, wants_usage: bool = False, **body: Any) -> tuple[Outgoing, Client]:
    call = Call(
        id="req_1",
        route="/v1/chat/completions",
        model="m",
        body={"messages": [], **body},
        received_at=5.0,
        started=0.0,
        stream=True,
    )
    client = Client()
    return Outgoing(call, client.send, wants_usage=wants_usage), client


def chunk(content: str | None = None, finish: str | None = None, index: int = 0, **more: Any) -> Any:
    delta = {"role": "assistant", "content": content} if content is not None else {}
    return {
        "id": "chatcmpl-up",
        "created": 7,
        "choices": [{"index": index, "delta": {**delta, **more}, "finish_reason": finish}],
    }


@pytest.mark.asyncio
async def test_a_stream_as_openai_sends_it() -> None:
    out, client = outgoing()
    assert await out.chunks([chunk("")], "m") == "" and not out.started, "an empty beginning is no beginning"
    assert await out.chunks([chunk("Hello"), chunk(" there")], "m") == "Hello there"
    await out.chunks([chunk(None, "stop")], "m")
    assert out.finished and not client.over
    await out.end(ADDED, USAGE)
    assert client.messages[0]["status"] == 200 and client.over
    assert client.data[-1] == b"[DONE]" and client.data.count(b"[DONE]") == 1
    assert [choice["delta"].get("role") for choice in client.choices] == ["assistant", None, None]
    assert [choice["finish_reason"] for choice in client.choices] == [None, None, "stop"]
    assert client.events[-1]["sentinella"] == ADDED["sentinella"]
    assert all("usage" not in event for event in client.events)
    assert {event["object"] for event in client.events} == {"chat.completion.chunk"}


@pytest.mark.asyncio
async def test_what_came_together_goes_in_one_piece() -> None:
    out, client = outgoing()
    await out.chunks([chunk("a"), chunk("b"), chunk("c")], "m")
    assert len([m for m in client.messages if m["type"] == "http.response.body"]) == 1


@pytest.mark.asyncio
async def test_the_end_waits_for_the_books() -> None:
    out, client = outgoing()
    await out.chunks([chunk("a"), chunk(None, "length")], "m")
    assert [choice["finish_reason"] for choice in client.choices] == [None]
    await out.end(ADDED, USAGE)
    assert [choice["finish_reason"] for choice in client.choices] == [None, "length"]


@pytest.mark.asyncio
async def test_usage_comes_only_when_asked_for() -> None:
    out, client = outgoing(wants_usage=True)
    usage = {"choices": [], "usage": {"prompt_tokens": 99}}
    await out.chunks([chunk("a"), chunk(None, "stop"), usage], "m")
    await out.end(ADDED, USAGE)
    told = [event for event in client.events if "usage" in event]
    assert len(told) == 1 and told[0]["choices"] == [] and told[0] is not client.events[0]
    assert told[0]["usage"]["prompt_tokens"] == 3 and told[0]["usage"]["total_tokens"] == 5
    assert "sentinella" in client.events[-1]


@pytest.mark.asyncio
async def test_one_identity_whoever_speaks() -> None:
    out, client = outgoing()
    await out.chunks([chunk("a")], "first")
    await out.chunks([{**chunk("b"), "id": "chatcmpl-other", "created": 8}], "second")
    await out.chunks([chunk(None, "stop")], "second")
    await out.end(ADDED, USAGE)
    assert {(event["id"], event["created"]) for event in client.events} == {("chatcmpl-up", 7)}
    assert [event["model"] for event in client.events] == ["first", "second", "second"]
    assert [choice["delta"].get("role") for choice in client.choices] == ["assistant", None, None]
    start = dict(client.messages[0]["headers"])
    assert start[b"x-sentinella-model"] == b"first" and start[b"x-sentinella-cost-usd"] == b"pending"


@pytest.mark.asyncio
async def test_every_choice_has_its_end() -> None:
    out, client = outgoing(n=3)
    await out.chunks([chunk("a"), chunk("b", index=1), chunk("c", index=2)], "m")
    await out.chunks([chunk(None, "stop", index=1), chunk(None, "length", index=0)], "m")
    assert not out.finished, "one of three still speaks"
    await out.chunks([chunk(None, "stop", index=2)], "m")
    assert out.finished and not out.continuable
    await out.end(ADDED, USAGE)
    reasons = [(c["index"], c["finish_reason"]) for c in client.choices if c["finish_reason"]]
    assert sorted(reasons) == [(0, "length"), (1, "stop"), (2, "stop")]
    roles = [c["index"] for c in client.choices if c["delta"].get("role")]
    assert sorted(roles) == [0, 1, 2]


@pytest.mark.asyncio
async def test_the_choices_that_litellm_forgets_to_end() -> None:
    out, client = outgoing(n=2)
    await out.chunks([chunk("a"), chunk("b", index=1), chunk(None, "stop")], "m")
    await out.end(ADDED, USAGE)
    assert [(c["index"], c["finish_reason"]) for c in client.choices if c["finish_reason"]] == [
        (0, "stop"),
        (1, "stop"),
    ]


@pytest.mark.asyncio
async def test_done_without_a_reason_is_an_end() -> None:
    out, client = outgoing()
    await out.chunks([chunk("a")], "m")
    await out.end(ADDED, USAGE)
    assert client.choices[-1]["finish_reason"] == "stop" and client.data[-1] == b"[DONE]"


@pytest.mark.asyncio
@pytest.mark.parametrize("finished", [False, True])
async def test_an_error_is_the_last_word(finished: bool) -> None:
    out, client = outgoing()
    await out.chunks([chunk("a")], "m")
    if finished:
        await out.chunks([chunk(None, "stop")], "m")
    await out.fail(UpstreamFailed("The model stopped.", status=504, code="upstream_stalled"))
    assert b"[DONE]" not in client.raw and client.over
    assert client.events[-1]["error"]["code"] == "upstream_stalled"
    assert not any(choice["finish_reason"] for choice in client.choices)


@pytest.mark.asyncio
async def test_a_restart_begins_anew() -> None:
    out, client = outgoing()
    await out.chunks([chunk("half an ans"), chunk(None, "length")], "first")
    await out.restart("second")
    assert not out.finished and out.text == []
    await out.chunks([chunk("A whole answer."), chunk(None, "stop")], "second")
    await out.end(ADDED, USAGE)
    at = next(i for i, event in enumerate(client.events) if event.get("sentinella") == {"restart": True})
    after = [choice for event in client.events[at + 1 :] for choice in event["choices"]]
    assert "".join(choice["delta"].get("content") or "" for choice in after) == "A whole answer."
    assert after[0]["delta"]["role"] == "assistant"
    assert [choice["finish_reason"] for choice in client.choices if choice["finish_reason"]] == ["stop"]
    assert "".join(out.text) == "A whole answer."


@pytest.mark.asyncio
async def test_thoughts_are_counted_but_not_handed_on() -> None:
    """Another model takes up what the client read as the answer."""
    out, client = outgoing()
    said = await out.chunks([chunk(reasoning_content="Let me see."), chunk("Four")], "m")
    assert said == "Let me see.Four" and "".join(out.text) == "Four"
    assert out.continuable and client.choices[0]["delta"]["reasoning_content"] == "Let me see."


@pytest.mark.asyncio
async def test_half_a_tool_call_is_not_handed_on() -> None:
    out, _ = outgoing()
    call = {"index": 0, "id": "call_1", "function": {"name": "look", "arguments": '{"at'}}
    assert await out.chunks([chunk(tool_calls=[call])], "m") == '{"at'
    assert not out.continuable


@pytest.mark.asyncio
async def test_litellms_own_fields_are_left_out() -> None:
    out, client = outgoing()
    await out.chunks([chunk("a", provider_specific_fields={"x": 1})], "m")
    assert client.choices[0]["delta"] == {"role": "assistant", "content": "a"}
