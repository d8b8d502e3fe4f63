"""Long-term recall: what a user said in earlier sessions and is near to what is said now."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from dataclasses import dataclass

from sentinella_plugins.kernel.errors import SentinellaError
from sentinella_plugins.memory.config import RecallConfig
from sentinella_plugins.memory.facts import FactStore, Person
from sentinella_plugins.memory.messages import text_of
from sentinella_plugins.memory.models import Head, Place, Remembered, Said
from sentinella_plugins.vectors.models import Encoder

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Job:
    head: Head
    person: Person
    seq: int
    text: str


class Recall:
    """`run` must run: it turns what was said into vectors."""

    def __init__(self, store: FactStore, encoder: Encoder, config: RecallConfig) -> None:
        self._store = store
        self._encoder = encoder
        self._config = config
        self._queue: asyncio.Queue[_Job] = asyncio.Queue(config.max_waiting)

    async def near(self, place: Place, ref: str | None, user: str, said: Said) -> list[str]:
        """Nothing when the encoder fails: recall is never worth a call."""
        text = self._statement(said)
        if not text:
            return []
        try:
            vector = (await self._encoder.encode([text]))[0].vector
            found = await self._store.nearest(
                _person(place, user),
                vector,
                self._encoder.name,
                but=ref,
                most=self._config.max_facts,
                limit=self._config.facts,
            )
        except SentinellaError as error:
            logger.info("nothing was recalled for tenant `%s`: %s", place.tenant, error)
            return []
        return [fact for similarity, fact in found if similarity >= self._config.threshold]

    def learn(self, held: Remembered, head: Head, user: str) -> None:
        text = self._statement(held.said)
        if text and not self._queue.full():
            self._queue.put_nowait(_Job(head, _person(head.place, user), head.last_seq, text))

    async def idle(self) -> None:
        """Until every statement has its vector."""
        await self._queue.join()

    async def run(self) -> None:
        while True:
            job = await self._queue.get()
            try:
                await self._keep(job)
            except SentinellaError as error:
                logger.info("a statement of tenant `%s` was not kept: %s", job.person.tenant, error)
            except Exception:
                logger.exception("a statement was not kept")
            finally:
                self._queue.task_done()

    async def _keep(self, job: _Job) -> None:
        vector = (await self._encoder.encode([job.text]))[0].vector
        name, most = self._encoder.name, self._config.max_facts
        await self._store.keep(job.head, job.person, (job.seq, job.text), vector, name, most)

    def _statement(self, said: Said) -> str:
        own = (text_of(message) for message in said.turn if message.get("role") == "user")
        return "\n".join(text for text in own if text).strip()[: self._config.max_chars]


def _person(place: Place, user: str) -> Person:
    return Person(place.tenant, hashlib.sha256(f"{place.owner}\0{user}".encode()).hexdigest())
