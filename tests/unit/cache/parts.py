"""What the tests of the cache share: calls, answers, and the parts of the semantic layer."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from sentinella_plugins.cache.config import CacheConfig
from sentinella_plugins.cache.models import Meaning
from sentinella_plugins.cache.service import CacheService
from sentinella_plugins.kernel.call import Call, Json, Options, Outcome, Principal
from sentinella_plugins.kernel.clock import Clock, ManualClock
from sentinella_plugins.kernel.errors import Unavailable
from sentinella_plugins.kernel.events import Events
from sentinella_plugins.kernel.money import Nano
from sentinella_plugins.storage.database import Database
from sentinella_plugins.storage.entries_sql import SqlEntries
from sentinella_plugins.vectors.minilm import MiniLM
from sentinella_plugins.vectors.models import Encoding
from sentinella_plugins.vectors.shelves import VectorIndex

_numbers = itertools.count()


def call(
    text: object = "What is the capital of France?",
    *,
    tenant: str = "acme",
    models: tuple[str, ...] | None = None,
    model: str = "gpt",
    options: dict[str, Any] | None = None,
    headers: dict[str, str] | None = None,
    stream: bool = False,
    route: str = "/v1/chat/completions",
    before: Sequence[dict[str, Any]] = ({"role": "system", "content": "You help."},),
    **body: object,
) -> Call:
    messages = [*before, {"role": "user", "content": text}]
    return Call(
        id=f"req_{next(_numbers)}",
        route=route,
        requested=model,
        model=model,
        body={"messages": messages, **body},
        principal=Principal(tenant=tenant, key_id="key_1", models=models),
        options=Options(**(options or {})),
        headers=headers or {},
        stream=stream,
        received_at=0.0,
        started=0.0,
    )


def body(text: object = "Paris.", finish_reason: str = "stop", **message: object) -> dict[str, Any]:
    said = {"role": "assistant", "content": text, "refusal": None, **message}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt",
        "choices": [{"index": 0, "message": said, "finish_reason": finish_reason, "logprobs": None}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11},
    }


def success(answer: Json | str | None = "Paris.", **changes: Any) -> Outcome:
    told = body(answer) if isinstance(answer, str) else answer
    known: dict[str, Any] = {"model": "gpt", "provider": "openai", "cost": Nano(500)}
    return Outcome(status="success", body=told, **{**known, **changes})


@cache
def minilm() -> MiniLM:
    return MiniLM()


@dataclass
class Encoder:
    """The shipped model; `asked` are the texts that it has seen."""

    down: bool = False
    asked: list[str] = field(default_factory=list)
    name: str = "minilm"
    dimensions: int = 384

    async def encode(self, texts: Sequence[str]) -> Sequence[Encoding]:
        if self.down:
            raise Unavailable("The encoder is down.")
        self.asked += texts
        return await asyncio.to_thread(minilm().encode, texts)


@dataclass(frozen=True)
class Opinion:
    score: float
    guard: str | None = None


@dataclass
class NumbersJudge:
    """Trusts near questions with the same numbers; `seen` are the kept ones that it has compared."""

    score: float = 0.99
    serve: float = 0.9
    seen: list[str] = field(default_factory=list)

    def judge(self, asked: Encoding, kept: Encoding) -> Opinion:
        self.seen.append(kept.text)
        if re.findall(r"\d+", asked.text) != re.findall(r"\d+", kept.text):
            return Opinion(0.0, "numbers")
        return Opinion(self.score)


@dataclass
class Worker:
    """One process that shares its database with others."""

    service: CacheService
    database: Database
    entries: SqlEntries
    events: Events
    encoder: Encoder
    judge: NumbersJudge
    index: VectorIndex
    clock: Clock

    async def ask(self, asked: Call, answer: Outcome | None = None) -> Call:
        """Through the cache and back, as a model that gives this answer would."""
        asked = await self.service.lookup(asked)
        await self.service.keep(asked, answer or success())
        return asked

    async def sync(self) -> None:
        await self.service.write()
        await self.service.round()


@asynccontextmanager
async def worker(
    folder: Path,
    *,
    clock: Clock | None = None,
    meaning: bool = True,
    random: float = 1.0,
    snapshots: Path | None = None,
    encoder: Any = None,
    **settings: Any,
) -> AsyncIterator[Worker]:
    settings["checks"] = {"wait_s": 0, **settings.get("checks", {})}
    clock, events = clock or ManualClock(), Events()
    database = Database(f"sqlite:///{folder / 'cache.db'}", clock=clock)
    await database.open()
    entries, config = SqlEntries(database, clock), CacheConfig.model_validate(settings)
    encoder, judge, index = encoder or Encoder(), NumbersJudge(), VectorIndex()
    parts = Meaning(index, encoder, judge) if meaning else None
    service = CacheService(
        database, entries, events, clock, config, parts, folder=snapshots, random=lambda: random
    )
    try:
        yield Worker(service, database, entries, events, encoder, judge, index, clock)
    finally:
        await service.close()
        await database.close()
