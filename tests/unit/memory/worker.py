"""One worker's memory, with models that answer what they are told to."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import numpy as np

from sentinella_plugins.kernel.asking import Question
from sentinella_plugins.kernel.call import Call, Json, Options, Outcome, Principal, Status, Usage
from sentinella_plugins.kernel.catalogue import ModelCard
from sentinella_plugins.kernel.clock import Clock, SystemClock
from sentinella_plugins.kernel.errors import SentinellaError
from sentinella_plugins.kernel.events import Events, PartFailed
from sentinella_plugins.kernel.money import Nano
from sentinella_plugins.memory.config import MemoryConfig
from sentinella_plugins.memory.models import Message
from sentinella_plugins.memory.service import MemoryService
from sentinella_plugins.memory.stage import MemoryStage
from sentinella_plugins.storage.database import Database
from sentinella_plugins.storage.shared import SharedValues
from sentinella_plugins.vectors.models import Encoding

_numbers = itertools.count()
ACME = Principal(tenant="acme", key_id="key_1")


class Words:
    """A catalogue whose tokens are words. `small` has a window of 100 tokens."""

    def __init__(self) -> None:
        self.counted = 0

    def cards(self) -> Sequence[ModelCard]:
        return [ModelCard(name="small", provider="test", upstream="small", context_window=100)]

    def find(self, name: str) -> ModelCard | None:
        return next((card for card in self.cards() if card.name == name), None)

    async def count_prompt(self, model: str, body: Json) -> int:
        self.counted += 1
        messages: object = body["messages"]
        assert isinstance(messages, list)
        return sum(len(str(message.get("content")).split()) for message in messages)

    def cost(self, model: str, usage: Usage) -> Nano:
        return Nano(0)


class Letters:
    """An encoder that counts letters: texts of the same words are near."""

    name = "letters"
    dimensions = 26

    async def encode(self, texts: Sequence[str]) -> Sequence[Encoding]:
        return [self._encode(text) for text in texts]

    def _encode(self, text: str) -> Encoding:
        counts = np.array([text.lower().count(chr(97 + at)) for at in range(26)], np.float32)
        vector = counts / (np.linalg.norm(counts) or 1.0)
        return Encoding(text, vector.astype(np.float32), np.empty((0, 26), np.float32))


@dataclass
class Summariser:
    """Plays questions; with `error` it raises."""

    error: SentinellaError | None = None
    asked: list[Question] = field(default_factory=list)

    async def __call__(self, question: Question) -> Outcome:
        self.asked.append(question)
        if self.error is not None:
            raise self.error
        return success(f"minutes {len(self.asked)}")


class Worker:
    def __init__(
        self, database: Database, clock: Clock, values: SharedValues | None = None, **settings: object
    ) -> None:
        self.database = database
        self.told: list[PartFailed] = []
        self.catalogue = Words()
        self.summariser = Summariser()
        events = Events()
        events.subscribe(PartFailed, self._hear)
        config = MemoryConfig.model_validate({"poll_s": 0.01, **settings})
        self.service = MemoryService(
            database,
            self.catalogue,
            events,
            clock,
            config,
            ask=self.summariser,
            encoder=Letters(),
            shared=values,
        )
        self.stage = MemoryStage(self.service)

    async def say(self, text: str, session: str = "s", **changes: object) -> list[Json]:
        """A whole turn, answered with `re: <text>`; what the model was shown."""
        call = await self.stage.enter(call_of(user(text), session=session, **changes))
        await self.stage.leave(call, success(f"re: {text}"))
        return shown(call)

    async def shown(self, session: str = "s", **changes: object) -> list[Json]:
        """What a model would be shown, without a turn."""
        call = await self.stage.enter(call_of(user("?"), session=session, **changes))
        await self.stage.leave(call, Outcome(status="error"))
        return shown(call)[:-1]

    async def _hear(self, event: PartFailed) -> None:
        self.told.append(event)


@asynccontextmanager
async def opened(
    url: str, clock: Clock | None = None, values: SharedValues | None = None, **settings: object
) -> AsyncIterator[Worker]:
    """A worker whose loops run."""
    clock = clock or SystemClock()
    database = Database(url, clock=clock)
    await database.open()
    worker = Worker(database, clock, values, **settings)
    running = asyncio.create_task(worker.service.run())
    try:
        yield worker
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        await worker.service.close()
        await database.close()


def call_of(*messages: Json, session: str | None = "s", who: Principal = ACME, **changes: object) -> Call:
    plain = Call(
        id=f"req_{next(_numbers)}",
        route="/v1/chat/completions",
        requested="auto",
        model="auto",
        body={"messages": list(messages)},
        options=Options(session_id=session),
        principal=who,
        received_at=0.0,
        started=0.0,
    )
    return plain.evolve(**changes)


def success(content: str | None = "fine", **fields: object) -> Outcome:
    return ended({"role": "assistant", "content": content, "refusal": None, "annotations": [], **fields})


def ended(message: Json, status: Status = "success") -> Outcome:
    body = {"id": "chatcmpl-1", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    return Outcome(status=status, model="small", body=body)


def user(text: object) -> Json:
    return {"role": "user", "content": text}


def assistant(text: str) -> Json:
    return {"role": "assistant", "content": text}


def system(text: str) -> Json:
    return {"role": "system", "content": text}


def asks(*ids: str) -> Json:
    calls = [{"id": one, "type": "function", "function": {"name": "f", "arguments": "{}"}} for one in ids]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def result(identity: str, text: str = "42") -> Json:
    return {"role": "tool", "tool_call_id": identity, "content": text}


def shown(call: Call) -> list[Json]:
    messages = call.body["messages"]
    assert isinstance(messages, list)
    return messages


def texts(messages: Sequence[Json]) -> list[object]:
    return [message.get("content") for message in messages]


def kept(*messages: Json, tokens: Callable[[Json], int] = lambda _: 1) -> list[Message]:
    return [
        Message(seq=at, role=str(message["role"]), body=message, tokens=tokens(message), bytes=10)
        for at, message in enumerate(messages, 1)
    ]
