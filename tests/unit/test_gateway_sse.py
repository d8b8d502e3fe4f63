"""Server-sent events: whatever way the bytes are split, the same events come out."""

from __future__ import annotations

from itertools import pairwise

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinella_plugins.gateway.sse import Events, Malformed, parse

LIMIT = 10_000
payloads = st.lists(
    st.dictionaries(st.text(max_size=8), st.text(max_size=20) | st.integers(-9, 9) | st.none(), max_size=3),
    max_size=6,
).map(lambda values: [orjson.dumps(value) for value in values])
line_ends = st.sampled_from([b"\n", b"\r\n", b"\r"])
noise = st.sampled_from([b"", b": ping", b"event: message", b"id: 7", b"retry: 10", b":"])


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


def heard(parts: list[bytes]) -> list[bytes]:
    events = Events(LIMIT)
    found = [payload for part in parts for payload in events.feed(part)]
    return found + events.end()


@given(payloads, line_ends, noise, st.lists(st.integers(0, 5_000), max_size=12))
def test_any_split_gives_the_same_events(
    sent: list[bytes], end: bytes, extra: bytes, cuts: list[int]
) -> None:
    before = extra + end if extra else b""
    data = b"".join(before + b"data: " + payload + end + end for payload in sent)
    assert heard(pieces(data, cuts)) == heard([data]) == sent


@given(payloads, line_ends)
def test_byte_by_byte(sent: list[bytes], end: bytes) -> None:
    data = b"".join(b"data:" + payload + end + end for payload in sent)
    assert heard([data[i : i + 1] for i in range(len(data))]) == sent


@given(line_ends, st.lists(st.integers(0, 60), max_size=6))
def test_an_event_of_several_lines_survives_any_split(end: bytes, cuts: list[int]) -> None:
    data = end.join([b"event: x", b"data: {", b'data: "a": 1', b"data: }", b"", b""]) * 2
    assert heard(pieces(data, cuts)) == [b'{\n"a": 1\n}'] * 2


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_several_data_lines_are_one_event(end: bytes) -> None:
    assert heard([end.join([b"data: {", b'data: "a": 1', b"data: }", b"", b""])]) == [b'{\n"a": 1\n}']


def test_comments_and_empty_events_are_nothing() -> None:
    assert heard([b": OPENROUTER PROCESSING\n\n\n\nevent: ping\n\ndata:\n\n: x\n\n"]) == []


def test_the_last_event_may_lack_its_blank_line() -> None:
    assert heard([b'data: {"a": 1}\n\ndata: {"b": 2}']) == [b'{"a": 1}', b'{"b": 2}']


@given(st.lists(st.integers(0, 200), max_size=6))
def test_nothing_counts_after_done(cuts: list[int]) -> None:
    events = Events(LIMIT)
    data = b'data: {"a": 1}\n\ndata: [DONE]\n\ndata: {"b": 2}\n\n'
    found: list[bytes] = []
    for part in pieces(data, cuts):
        found += [] if events.done else events.feed(part)
    assert events.done and found == [b'{"a": 1}']


def test_done_without_its_blank_line_is_done() -> None:
    events = Events(LIMIT)
    assert events.feed(b"data: [DONE]") == [] and not events.done
    assert events.end() == [] and events.done


def test_an_end_of_the_connection_is_not_done() -> None:
    events = Events(LIMIT)
    events.feed(b'data: {"a": 1}\n\n')
    assert events.end() == [] and not events.done


def test_an_event_that_never_ends_is_given_up() -> None:
    events = Events(100)
    with pytest.raises(Malformed):
        for _ in range(20):
            events.feed(b"data: 123456")


@pytest.mark.parametrize("payload", [b"", b"{", b'{"a": 1', b"[1]", b"7", b"null", b"<html>", b"\xff"])
def test_what_is_no_object_is_malformed(payload: bytes) -> None:
    with pytest.raises(Malformed) as raised:
        parse(payload)
    assert (raised.value.code, raised.value.status) == ("upstream_malformed", 502)
