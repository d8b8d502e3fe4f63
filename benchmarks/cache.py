"""How long the cache takes to decide, embedding excluded: `python -m benchmarks.cache [--sizes 1000]`.

Half of the questions asked are worded like a kept one, half are new. The index's other vectors are random:
only how many they are counts.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from sentinella_plugins.cache.config import CacheConfig
from sentinella_plugins.cache.fingerprint import keys_of
from sentinella_plugins.cache.models import Meaning
from sentinella_plugins.cache.service import CacheService
from sentinella_plugins.cache.verifier import Verifier
from sentinella_plugins.kernel.call import CacheMark, Call, Outcome, Principal
from sentinella_plugins.kernel.clock import SystemClock
from sentinella_plugins.kernel.events import Events
from sentinella_plugins.storage.database import Database
from sentinella_plugins.storage.entries_sql import SqlEntries
from sentinella_plugins.vectors import LocalEncoder, RemoteEncoder, open_encoder
from sentinella_plugins.vectors.config import VectorsConfig
from sentinella_plugins.vectors.models import Encoding
from sentinella_plugins.vectors.shelves import VectorIndex

PATIENCE = 900
"""Tenths of a second without any change: then it is settled, also when lists were being trained."""

SIZES = (1_000, 10_000, 100_000)
THINGS = [
    "river",
    "mountain",
    "planet",
    "language",
    "painter",
    "opera",
    "metal",
    "bridge",
    "desert",
    "volcano",
    "island",
    "engine",
]
PLACES = [
    "France",
    "Brazil",
    "Japan",
    "Kenya",
    "Norway",
    "Egypt",
    "Canada",
    "India",
    "Peru",
    "Poland",
    "Turkey",
    "Chile",
    "Ghana",
    "Nepal",
]
KEPT = [f"What is the most famous {thing} of {place}?" for thing in THINGS for place in PLACES]
NEAR = [question.replace("What is", "What's") for question in KEPT]
FAR = [f"How do I repair a broken {thing} near the coast of {place}?" for thing in THINGS for place in PLACES]
ANSWER = {
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "It is."}, "finish_reason": "stop"}]
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    sizes = [int(size) for size in chosen.sizes.split(",")]
    rows = [asyncio.run(measured(size)) for size in sizes]
    show(rows)
    if chosen.json:
        chosen.json.write_text(json.dumps({"decision": rows}, indent=2))


async def measured(size: int) -> dict[str, Any]:
    clock = SystemClock()
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{folder}/cache.db", clock=clock)
        await database.open()
        encoder = await open_encoder(VectorsConfig())
        index = VectorIndex()
        service = CacheService(
            database,
            SqlEntries(database, clock),
            Events(),
            clock,
            CacheConfig.model_validate({"checks": {"enabled": False}}),
            Meaning(index, encoder, Verifier()),
        )
        try:
            return await turns(service, encoder, index, size)
        finally:
            await service.close()
            await encoder.close()
            await database.close()


async def turns(
    service: CacheService, encoder: LocalEncoder | RemoteEncoder, index: VectorIndex, size: int
) -> dict[str, Any]:
    for question in KEPT:
        await service.keep(await service.lookup(call(question)), success())
    await service.write()
    fill(index, size - len(KEPT), encoder.dimensions)
    settle(index)
    encodings = {one.text: one for one in await encoder.encode([*NEAR, *FAR])}
    near = await timed([known(encodings[text]) for text in NEAR], service)
    far = await timed([known(encodings[text]) for text in FAR], service)
    exact = await timed([call(text) for text in KEPT * 10], service)
    return {
        "entries": size,
        "near_ms": near,
        "far_ms": far,
        "exact_ms": exact,
        "fingerprint_ms": fingerprints(),
        "index_mb": round(index.nbytes / 1e6, 1),
    }


async def timed(calls: Sequence[Call], service: CacheService) -> dict[str, float]:
    """Of `lookup` alone; `hits` is the share of calls that were answered."""
    times, hits = [], 0
    for asked in calls:
        started = time.perf_counter()
        found = await service.lookup(asked)
        times.append((time.perf_counter() - started) * 1000)
        mark = found.note(CacheMark)
        hits += mark is not None and mark.status == "hit"
        await service.keep(found, Outcome(status="cancelled"))
    p50, p99 = np.percentile(times, [50, 99])
    return {"p50": round(float(p50), 3), "p99": round(float(p99), 3), "hits": round(hits / len(times), 3)}


def fingerprints() -> float:
    asked = call(KEPT[0])
    started = time.perf_counter()
    for _ in range(5_000):
        keys_of(asked)
    return round((time.perf_counter() - started) / 5, 4)


def fill(index: VectorIndex, count: int, dimensions: int) -> None:
    scope, numbers = keys_of(call("")).scope, np.random.default_rng(1)
    for start in range(0, max(count, 0), 1_000):
        rows = numbers.standard_normal((min(1_000, count - start), dimensions)).astype(np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        for place, row in enumerate(rows, start):
            index.add(("acme", scope), f"filler_{place}", row)


def settle(index: VectorIndex) -> None:
    """Until everything is where it is found soonest."""
    idle = 0
    while idle < PATIENCE:
        idle = 0 if index.tidy() else idle + 1
        time.sleep(0.1 if idle else 0)


def known(encoding: Encoding) -> Call:
    return call(encoding.text).with_note(encoding)


def call(text: str) -> Call:
    return Call(
        id=f"req_{random.getrandbits(64):x}",
        route="/v1/chat/completions",
        requested="gpt",
        model="gpt",
        body={"messages": [{"role": "user", "content": text}]},
        principal=Principal(tenant="acme", key_id="key"),
        received_at=time.time(),
        started=0.0,
    )


def success() -> Outcome:
    return Outcome(status="success", model="gpt", body=ANSWER)


def show(rows: Sequence[dict[str, Any]]) -> None:
    table = Table("entries", "near p50/p99 ms", "new p50/p99 ms", "exact p50/p99 ms", "hits", "index MB")
    for row in rows:
        pairs = [f"{row[name]['p50']} / {row[name]['p99']}" for name in ("near_ms", "far_ms", "exact_ms")]
        table.add_row(str(row["entries"]), *pairs, str(row["near_ms"]["hits"]), str(row["index_mb"]))
    Console(width=120).print(table, f"fingerprint: {rows[-1]['fingerprint_ms']} ms")


if __name__ == "__main__":
    main()
