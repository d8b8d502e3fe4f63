"""An embedding model somewhere else."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

import numpy as np

from sentinella_plugins.kernel.errors import Unavailable
from sentinella_plugins.vectors.memo import Memo
from sentinella_plugins.vectors.models import Encoding, Vector
from sentinella_plugins.vectors.texts import readable, unit

logger = logging.getLogger(__name__)
Embed = Callable[[Sequence[str]], Awaitable[Sequence[Sequence[float]]]]


class RemoteEncoder:
    """Each list of texts is asked for in requests of `max_batch`, never twice. It has no token vectors."""

    def __init__(
        self,
        embed: Embed,
        name: str,
        dimensions: int,
        *,
        max_batch: int = 32,
        max_queue: int = 1_000,
        timeout_s: float = 5.0,
        max_characters: int = 8_000,
        memo_bytes: int = 6_000_000,
    ) -> None:
        self.name = f"{name}:{dimensions}:{max_characters}"
        self.dimensions = dimensions
        self._embed = embed
        self._max_batch = max_batch
        self._max_queue = max_queue
        self._timeout_s = timeout_s
        self._most = max_characters
        self._memo = Memo(memo_bytes)
        self._none = np.empty((0, dimensions), dtype=np.float32)
        self._running = 0
        self._closed = False

    async def open(self) -> None: ...

    async def close(self) -> None:
        self._closed = True

    async def encode(self, texts: Sequence[str]) -> Sequence[Encoding]:
        found = {text: encoding for text in texts if (encoding := self._memo.get(text)) is not None}
        missing = [text for text in dict.fromkeys(texts) if text not in found]
        for start in range(0, len(missing), self._max_batch):
            some = missing[start : start + self._max_batch]
            for text, vector in zip(some, await self._ask(some), strict=True):
                found[text] = Encoding(text, vector, self._none)
                self._memo.put(found[text])
        return [found[text] for text in texts]

    async def _ask(self, texts: Sequence[str]) -> Vector:
        if self._closed:
            raise Unavailable("The encoder is closed.")
        if self._running and self._running + len(texts) > self._max_queue:
            raise Unavailable("Too many texts wait for the encoder. Retry shortly.")
        self._running += len(texts)
        try:
            async with asyncio.timeout(self._timeout_s):
                return self._checked(await self._embed([readable(text, self._most) for text in texts]), texts)
        except TimeoutError:
            raise Unavailable("The embedding model did not answer in time. Retry shortly.") from None
        except Unavailable:
            raise
        except Exception as error:  # whatever a provider's client raises
            logger.warning("the embedding model failed: %s", error)
            raise Unavailable(f"The embedding model failed: {type(error).__name__}.") from error
        finally:
            self._running -= len(texts)

    def _checked(self, answer: Sequence[Sequence[float]], texts: Sequence[str]) -> Vector:
        rows = np.array(answer, dtype=np.float64)
        if rows.shape != (len(texts), self.dimensions):
            raise Unavailable(
                f"The embedding model sent vectors of shape {rows.shape}, not "
                f"{(len(texts), self.dimensions)}. Check `vectors.dimensions`."
            )
        if not np.isfinite(rows).all() or not np.abs(rows).sum(axis=1).all():
            raise Unavailable("The embedding model sent something that is no direction.")
        return unit(rows)
