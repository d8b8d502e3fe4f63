"""The semantic layer: near questions, verified."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from sentinella_plugins.cache.config import CacheConfig
from sentinella_plugins.cache.memory import Lru
from sentinella_plugins.cache.models import Found, Index, Judge, Partition, Verdict
from sentinella_plugins.cache.thresholds import Thresholds
from sentinella_plugins.storage.entries import Entries, Entry
from sentinella_plugins.vectors.models import Encoder, Encoding, Prompt, Vector

T = TypeVar("T")
Place = tuple[str, str]
_SHORT = 300
"""Characters of a question that is encoded by the cache's thread: others wait for it meanwhile."""

_SURE = 0.95
"""Of questions this much alike at most the wording differs; another one would answer no better."""


@dataclass(frozen=True, slots=True)
class Judged:
    """(id, cosine) of what is near, nearest first, and verdicts on what was at hand of it."""

    near: Sequence[tuple[str, float]]
    verdicts: Mapping[str, Verdict]


class Semantic:
    """One thread does all that changes or searches the index or the encodings or judges, so that none of them
    needs locks."""

    def __init__(
        self, index: Index, encoder: Encoder, judge: Judge, entries: Entries, config: CacheConfig
    ) -> None:
        self._index = index
        self._encoder = encoder
        self._judge = judge
        self._entries = entries
        self._config = config
        self._kept: Lru[Place, Encoding] = Lru(config.encodings_bytes, _size)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sentinella-cache")
        self._running = 0

    @property
    def indexed(self) -> int:
        return len(self._index)

    @property
    def encoder_name(self) -> str:
        return self._encoder.name

    @property
    def dimensions(self) -> int:
        return self._encoder.dimensions

    def knows(self, partition: Partition, entry_id: str) -> bool:
        """Whether it is kept, as far as this worker has heard."""
        return self._index.holds(partition, entry_id)

    async def encode(self, text: str) -> Encoding:
        """Raises `Unavailable`."""
        return (await self._encoder.encode([text]))[0]

    async def encode_all(self, texts: Sequence[str]) -> Sequence[Encoding]:
        return await self._encoder.encode(texts)

    async def encode_and_judge(
        self, partition: Partition, text: str, threshold: float
    ) -> tuple[Encoding, Judged] | None:
        """Both in one turn of one thread: handing over takes a call that is alone longer than judging. `None`
        when the text is long, or others wait: they are quicker with a thread for each."""
        encoder = self._encoder
        if self._running or len(text) > _SHORT or not isinstance(encoder, Prompt):
            return None

        def work() -> tuple[Encoding, Judged] | None:
            encoding = encoder.encode_here(text)
            return None if encoding is None else (encoding, self._judged(partition, encoding, threshold))

        return await self._run(work)

    async def judge(self, partition: Partition, encoding: Encoding, threshold: float) -> Judged:
        return await self._run(lambda: self._judged(partition, encoding, threshold))

    async def find(
        self, partition: Partition, encoding: Encoding, judged: Judged, learned: Thresholds
    ) -> Found | None:
        """The kept question of a tenant and scope whose answer most probably fits. It may not be trusted
        yet. Raises `Unavailable`."""
        verdicts = judged.verdicts
        missing = [entry_id for entry_id, _ in judged.near if entry_id not in verdicts]
        if missing:
            read = await self._read(partition, missing)
            more = await self._run(lambda: self._judge_all(partition, encoding, read))
            verdicts = {**verdicts, **more}
        found = [
            _found(entry_id, min(1.0, cosine), verdicts[entry_id], learned)
            for entry_id, cosine in judged.near
            if entry_id in verdicts
        ]
        return max(found, key=lambda one: (one.guard is None, one.confidence, one.similarity), default=None)

    async def verdict(self, asked: Encoding, kept: Encoding) -> Verdict:
        return await self._run(lambda: self._judge.judge(asked, kept))

    def add_soon(self, entry: Entry, encoding: Encoding) -> None:
        """Found from the next moment on."""

        def add() -> None:
            self._kept.put((entry.tenant, entry.id), encoding)
            self._index.add((entry.tenant, entry.scope), entry.id, encoding.vector)

        self._thread.submit(add)

    async def add(self, outlines: Iterable[Entry]) -> None:
        """Those that have a vector of this encoder."""
        fit = [entry for entry in outlines if entry.vector and entry.encoder == self._encoder.name]
        places = [((entry.tenant, entry.scope), entry.id) for entry in fit]
        await self.add_vectors(places, [unpack(entry.vector) for entry in fit])

    async def add_vectors(
        self, places: Sequence[tuple[Partition, str]], vectors: Sequence[Vector] | Vector
    ) -> None:
        def add(index: Index) -> None:
            for (partition, entry_id), vector in zip(places, vectors, strict=True):
                index.add(partition, entry_id, vector)

        await self.on_thread(add)

    def forget(self, partition: Partition, entry_id: str) -> None:
        def remove() -> None:
            self._kept.drop((partition[0], entry_id))
            self._index.remove(partition, entry_id)

        self._thread.submit(remove)

    async def clear(self) -> None:
        def clear() -> None:
            self._kept.clear()
            self._index.clear()

        await self._run(clear)

    async def on_thread(self, work: Callable[[Index], T]) -> T:
        """Runs what reads or writes the index as a whole."""
        return await self._run(lambda: work(self._index))

    def close(self) -> None:
        self._thread.shutdown()

    def _judged(self, partition: Partition, encoding: Encoding, threshold: float) -> Judged:
        """From the nearest on, until one is sure: what is farther is not looked at."""
        near: list[tuple[str, float]] = []
        verdicts: dict[str, Verdict] = {}
        for entry_id, cosine in self._index.search(partition, encoding.vector, self._config.candidates):
            if cosine < threshold:
                break
            near.append((entry_id, cosine))
            kept = self._kept.get((partition[0], entry_id))
            if kept is not None:
                verdict = verdicts[entry_id] = self._judge.judge(encoding, kept)
                if verdict.score >= _SURE:
                    break
        return Judged(near, verdicts)

    def _judge_all(
        self, partition: Partition, encoding: Encoding, kept: Mapping[str, Encoding]
    ) -> dict[str, Verdict]:
        for entry_id, other in kept.items():
            self._kept.put((partition[0], entry_id), other)
        return {entry_id: self._judge.judge(encoding, other) for entry_id, other in kept.items()}

    async def _read(self, partition: Partition, ids: Sequence[str]) -> dict[str, Encoding]:
        """Kept questions that still are in the store; the index forgets the others."""
        outlines = {entry.id: entry for entry in await self._entries.outlines(partition[0], ids)}
        for entry_id in ids:
            if entry_id not in outlines:
                self.forget(partition, entry_id)
        texts = {entry.id: entry.question for entry in outlines.values() if entry.question}
        encodings = await self._encoder.encode(list(texts.values())) if texts else ()
        return dict(zip(texts, encodings, strict=True))

    async def _run(self, work: Callable[[], T]) -> T:
        self._running += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        finally:
            self._running -= 1


def pack(vector: Vector) -> bytes:
    return vector.astype("<f2").tobytes()


def unpack(raw: bytes) -> Vector:
    vector = np.frombuffer(raw, dtype="<f2").astype(np.float32)
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-12), dtype=np.float32)


def _found(entry_id: str, cosine: float, verdict: Verdict, learned: Thresholds) -> Found:
    confidence = learned.confidence(entry_id, verdict.score) if verdict.guard is None else 0.0
    return Found(entry_id, cosine, verdict.score, confidence, verdict.guard)


def _size(encoding: Encoding) -> int:
    """The vectors of its words are held twice: as pieces, and put together for the judge."""
    arrays = int(encoding.vector.nbytes) + 2 * int(encoding.tokens.nbytes) + int(encoding.late.nbytes)
    return 1_000 + 4 * len(encoding.text) + arrays
