"""The queue in front of a local model, and an embedding model somewhere else."""

from __future__ import annotations

import asyncio
import threading
import tracemalloc
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest

from sentinella_plugins.kernel.errors import Unavailable
from sentinella_plugins.vectors import make_encoder
from sentinella_plugins.vectors.config import VectorsConfig
from sentinella_plugins.vectors.encoder import LocalEncoder
from sentinella_plugins.vectors.hashing import HashingModel
from sentinella_plugins.vectors.memo import Memo
from sentinella_plugins.vectors.minilm import MiniLM
from sentinella_plugins.vectors.models import Encoding
from sentinella_plugins.vectors.remote import RemoteEncoder

pytestmark = pytest.mark.asyncio


class Held(HashingModel):
    """Waits at its first batch until it may go on."""

    def __init__(self) -> None:
        super().__init__(32)
        self.batches: list[list[str]] = []
        self.began, self.go_on = threading.Event(), threading.Event()

    def encode(self, texts: Sequence[str]) -> list[Encoding]:
        self.batches.append(list(texts))
        self.began.set()
        assert self.go_on.wait(10)
        return super().encode(texts)


@asynccontextmanager
async def held(**settings: Any) -> AsyncIterator[tuple[Held, LocalEncoder, asyncio.Task[Any]]]:
    """An encoder whose model is busy with `first`."""
    model = Held()
    encoder = LocalEncoder(lambda: model, **settings)
    await encoder.open()
    first = asyncio.create_task(encoder.encode(["first"]))
    assert await asyncio.to_thread(model.began.wait, 10)
    try:
        yield model, encoder, first
    finally:
        model.go_on.set()
        await asyncio.gather(first, return_exceptions=True)
        await encoder.close()


async def test_texts_that_wait_form_one_batch() -> None:
    async with held() as (model, encoder, first):
        rest = [asyncio.create_task(encoder.encode([f"text {n}"])) for n in range(20)]
        await asyncio.sleep(0)
        model.go_on.set()
        found = await asyncio.gather(*rest)
        await first
    assert [[one.text for one in some] for some in found] == [[f"text {n}"] for n in range(20)]
    assert [len(batch) for batch in model.batches] == [1, 20]


async def test_equal_texts_are_encoded_once() -> None:
    async with held() as (model, encoder, _):
        rest = [asyncio.create_task(encoder.encode(["same", "same"])) for _ in range(5)]
        await asyncio.sleep(0)
        model.go_on.set()
        await asyncio.gather(*rest)
        await encoder.encode(["same"])
    assert model.batches == [["first"], ["same"]]


async def test_a_full_queue_refuses() -> None:
    async with held(max_queue=2) as (model, encoder, _):
        waiting = asyncio.create_task(encoder.encode(["a", "b"]))
        await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="Too many"):
            await encoder.encode(["c"])
        model.go_on.set()
        assert len(await waiting) == 2


async def test_who_has_gone_is_not_encoded() -> None:
    async with held() as (model, encoder, first):
        gone = asyncio.create_task(encoder.encode(["gone"]))
        stays = asyncio.create_task(encoder.encode(["stays"]))
        await asyncio.sleep(0)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        model.go_on.set()
        await stays
        await first
    assert model.batches == [["first"], ["stays"]]


async def test_time_runs_out() -> None:
    async with held(timeout_s=0.02) as (_, encoder, first):
        with pytest.raises(Unavailable, match="in time"):
            await first
        with pytest.raises(Unavailable, match="in time"):
            await encoder.encode(["another"])


async def test_closing_refuses_those_that_wait() -> None:
    async with held() as (model, encoder, first):
        waiting = asyncio.create_task(encoder.encode(["late"]))
        await asyncio.sleep(0)
        closing = asyncio.create_task(encoder.close())
        await asyncio.sleep(0)
        model.go_on.set()
        await closing
        assert (await first)[0].text == "first"
        with pytest.raises(Unavailable, match="closed"):
            await waiting
        with pytest.raises(Unavailable, match="closed"):
            await encoder.encode(["later"])


async def test_a_model_that_fails_is_unavailable_and_may_recover() -> None:
    class Moody(HashingModel):
        def encode(self, texts: Sequence[str]) -> list[Encoding]:
            if "bad" in texts:
                raise RuntimeError("no")
            return super().encode(texts)

    encoder = LocalEncoder(Moody)
    await encoder.open()
    with pytest.raises(Unavailable, match="RuntimeError"):
        await encoder.encode(["bad"])
    assert (await encoder.encode(["good"]))[0].text == "good"
    await encoder.close()


async def test_a_text_is_encoded_here_while_the_model_is_free() -> None:
    model = HashingModel(32)
    encoder = LocalEncoder(lambda: model)
    assert encoder.encode_here("closed") is None
    await encoder.open()
    here = await asyncio.to_thread(encoder.encode_here, "text")
    assert here is not None and here.text == "text"
    assert (await encoder.encode(["text"]))[0] is here and model.texts == 1
    await encoder.close()
    assert encoder.encode_here("other") is None


async def test_a_busy_or_failing_model_encodes_nothing_here() -> None:
    async with held() as (model, encoder, first):
        assert encoder.encode_here("text") is None
        model.go_on.set()
        (known,) = await first
        assert encoder.encode_here("first") is known
        assert model.batches == [["first"]]


async def test_a_long_list_keeps_its_order() -> None:
    encoder = make_encoder(VectorsConfig(encoder="hashing", max_queue=10))
    await encoder.open()
    texts = [f"text {n % 90}" for n in range(200)]
    assert [one.text for one in await encoder.encode(texts)] == texts
    await encoder.close()


async def test_the_memo_is_bounded() -> None:
    memo, model = Memo(20_000), HashingModel(32)
    for n in range(100):
        memo.put(model.encode([f"text {n}"])[0])
    assert 0 < memo.bytes <= 20_000
    assert memo.get("text 99") is not None
    assert memo.get("text 0") is None


async def test_what_the_memo_gives_is_what_it_was_given() -> None:
    memo, model = Memo(1_000_000), HashingModel(32)
    for text in ("two words", "one", "", "über 東京"):
        [made] = model.encode([text])
        memo.put(made)
        assert memo.get(text) is made
        vector, tokens, pieces = made.vector.copy(), made.tokens.copy(), made.pieces
        del made
        found = memo.get(text)
        assert found is not None and memo.get(text) is found
        assert (found.text, found.pieces) == (text, pieces)
        assert found.tokens.dtype == found.vector.dtype == np.float32
        np.testing.assert_array_equal(found.vector, vector)
        np.testing.assert_allclose(found.tokens, tokens, atol=1e-3)


async def test_the_memo_tells_how_much_it_takes() -> None:
    memo, model = Memo(10_000_000), MiniLM()
    texts = [f"How do I reset the password of account {n}, and what does it cost?" for n in range(300)]
    tracemalloc.start()
    for text in texts:
        memo.put(model.encode([text])[0])
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(memo) == len(texts)
    assert 0.7 * memo.bytes < taken < memo.bytes


async def test_remote_vectors_get_length_one() -> None:
    async def embed(texts: Sequence[str]) -> list[list[float]]:
        return [[3.0, 4.0] for _ in texts]

    encoder = RemoteEncoder(embed, "m", 2)
    found = (await encoder.encode(["a"]))[0]
    assert np.allclose(found.vector, [0.6, 0.8])
    assert found.tokens.shape == (0, 2)


@pytest.mark.parametrize("answer", [[], [[1.0]], [[float("nan"), 1.0]], [[0.0, 0.0]], [["x", "y"]], None])
async def test_a_wrong_answer_is_unavailable(answer: Any) -> None:
    async def embed(texts: Sequence[str]) -> Any:
        return answer

    with pytest.raises(Unavailable):
        await RemoteEncoder(embed, "m", 2).encode(["a"])


async def test_a_silent_embedding_model_is_unavailable() -> None:
    async def embed(texts: Sequence[str]) -> list[list[float]]:
        await asyncio.Event().wait()
        return []

    with pytest.raises(Unavailable, match="in time"):
        await RemoteEncoder(embed, "m", 2, timeout_s=0.02).encode(["a"])
