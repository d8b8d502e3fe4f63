"""The index against the plain truth: every vector in a dictionary, compared one by one."""

from __future__ import annotations

import time
import tracemalloc

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from sentinella_plugins.vectors.config import IndexConfig
from sentinella_plugins.vectors.models import Vector
from sentinella_plugins.vectors.shelves import Partition, VectorIndex

DIMENSIONS = 16
TENANTS, SCOPES = ("acme", "globex"), ("a", "b")
partitions = st.tuples(st.sampled_from(TENANTS), st.sampled_from(SCOPES))
ids = st.integers(0, 30).map("e{}".format)
seeds = st.integers(0, 10_000)


def unit(seed: int, dimensions: int = DIMENSIONS) -> Vector:
    vector = np.random.default_rng(seed).standard_normal(dimensions).astype(np.float32)
    return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)


class Truth(RuleBasedStateMachine):
    """Below the bound nothing is lost, nothing is doubled, and nobody sees another partition."""

    def __init__(self) -> None:
        super().__init__()
        self.index = VectorIndex(IndexConfig(max_entries=1_000))
        self.known: dict[Partition, dict[str, Vector]] = {}

    @rule(partition=partitions, entry=ids, seed=seeds)
    def add(self, partition: Partition, entry: str, seed: int) -> None:
        self.index.add(partition, entry, unit(seed))
        self.known.setdefault(partition, {})[entry] = unit(seed)

    @rule(partition=partitions, entry=ids)
    def remove(self, partition: Partition, entry: str) -> None:
        was = self.known.get(partition, {}).pop(entry, None)
        assert self.index.remove(partition, entry) == (was is not None)

    @rule(partition=partitions, seed=seeds, k=st.integers(1, 8))
    def search(self, partition: Partition, seed: int, k: int) -> None:
        here, asked = self.known.get(partition, {}), unit(seed)
        found = self.index.search(partition, asked, k)
        best = sorted((float(vector @ asked) for vector in here.values()), reverse=True)[:k]
        # A vector that is alone is held in half precision.
        np.testing.assert_allclose([cosine for _, cosine in found], best, atol=2e-3)
        assert len({entry for entry, _ in found}) == len(found) and {entry for entry, _ in found} <= set(here)

    @invariant()
    def everything_is_there_once(self) -> None:
        listed = [(partition, entry) for partition, entry, _ in self.index.items()]
        expected = [(partition, entry) for partition, here in self.known.items() for entry in here]
        assert sorted(listed) == sorted(expected) and len(self.index) == len(expected)
        assert all(self.index.holds(*place) for place in expected)
        assert not self.index.holds(("acme", "s"), "nothing")


TestTruth = Truth.TestCase
TestTruth.settings = settings(max_examples=40, stateful_step_count=60, deadline=None)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(partitions, seeds), max_size=120), st.integers(1, 20))
def test_it_never_holds_more_than_its_bound(added: list[tuple[Partition, int]], most: int) -> None:
    index = VectorIndex(IndexConfig(max_entries=most))
    for partition, seed in added:
        index.add(partition, f"e{seed}", unit(seed))
        assert len(index) == sum(1 for _ in index.items()) <= most


def test_the_largest_tenant_loses_its_oldest() -> None:
    index = VectorIndex(IndexConfig(max_entries=5))
    for n in range(4):
        index.add(("acme", "s"), f"a{n}", unit(n))
    for n in range(2):
        index.add(("globex", "s"), f"g{n}", unit(10 + n))
    assert [entry for _, entry, _ in index.items()] == ["a1", "a2", "a3", "g0", "g1"]


def test_a_vector_that_is_alone_takes_little() -> None:
    index, count = VectorIndex(), 2_000
    vectors = [unit(n, 384) for n in range(count)]
    tracemalloc.start()
    for n, vector in enumerate(vectors):
        index.add(("acme", f"scope-{n}"), f"entry-{n}", vector)
        index.add(("acme", f"scope-{n}"), f"entry-{n}", vector)
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(index) == count and index.nbytes == count * 768
    assert taken / count < 1_500


def test_inverted_lists_find_what_a_flat_search_finds() -> None:
    index = VectorIndex(IndexConfig(flat_below=64, probes=64))
    place = ("acme", "s")
    for n in range(1_500):
        index.add(place, f"e{n}", unit(n, 64))
    until = time.monotonic() + 60
    while sum(len(lists) for lists in index._shelves[place]._generations) < 1_000:
        assert time.monotonic() < until, "the lists are not filled"
        if not index.tidy():
            time.sleep(0.005)
    while index.tidy():
        pass
    assert len(index._shelves[place]._generations) == 1  # what came at once needs no more
    assert len(index._shelves[place]._flat) <= 8
    firsts = [index.search(place, unit(n, 64), 1)[0] for n in range(0, 1_500, 10)]
    assert sum(entry == f"e{n}" for n, (entry, _) in zip(range(0, 1_500, 10), firsts, strict=True)) >= 145
    assert all(cosine > 0.97 for _, cosine in firsts)
    for n in range(0, 1_500, 2):
        assert index.remove(place, f"e{n}")
    assert len(index) == 750
    odd = {entry for n in range(100) for entry, _ in index.search(place, unit(n, 64), 5)}
    assert all(int(entry[1:]) % 2 for entry in odd)
