"""Every backend against a model of a few lines, over random histories."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sentinella_plugins.kernel.clock import ManualClock
from sentinella_plugins.storage import Claim, Counters, Reservation
from tests.contract.conftest import Place

KEYS = ("short", "long", "gauge")
LIFETIMES = {"short": 100_000.0, "long": 1_000_000.0, "gauge": None}
IDS = st.sampled_from("abcdef")
OWNERS = st.sampled_from(("w1", "w2"))
AMOUNTS = st.integers(0, 8)
CLAIMS = st.dictionaries(st.sampled_from(KEYS), st.tuples(AMOUNTS, st.none() | st.integers(0, 12)))
STEPS = st.one_of(
    st.tuples(st.just("reserve"), IDS, OWNERS, CLAIMS),
    st.tuples(st.just("count"), CLAIMS),
    st.tuples(st.just("settle"), IDS, st.dictionaries(st.sampled_from(KEYS), AMOUNTS)),
    st.tuples(st.just("release"), IDS),
    st.tuples(st.just("beat"), OWNERS, st.integers(0, 90)),
    st.tuples(st.just("advance"), st.integers(0, 45)),
    st.tuples(st.just("reap")),
)


@dataclass
class Model:
    """Sums over what was settled and what is held; no buckets at all."""

    start: float
    settled: list[tuple[str, int]] = field(default_factory=list)
    held: dict[str, tuple[Reservation, float]] = field(default_factory=dict)
    leases: dict[str, float] = field(default_factory=dict)

    def used(self, key: str) -> int:
        held = [
            (claim.key, claim.amount) for reservation, _ in self.held.values() for claim in reservation.claims
        ]
        return sum(amount for name, amount in self.settled + held if name == key)

    def reserve(self, reservation: Reservation, now: float) -> tuple[int, ...]:
        wanted = enumerate(reservation.claims)
        refused = tuple(
            at for at, c in wanted if c.limit is not None and self.used(c.key) + c.amount > c.limit
        )
        if not refused:
            self.held[reservation.id] = reservation, now
        return refused

    def count(self, claims: tuple[Claim, ...], now: float) -> tuple[int, ...]:
        refused = self.reserve(Reservation("counted", "nobody", claims), now)
        self.settle("counted", {claim.key: claim.amount for claim in claims})
        return refused

    def settle(self, identity: str, actual: dict[str, int] | None) -> bool:
        reservation, _ = self.held.pop(identity, (None, 0))
        for claim in reservation.claims if reservation else ():
            amount = 0 if actual is None else actual.get(claim.key, claim.amount)
            self.settled.append((claim.key, amount))
        return reservation is not None

    def reap(self, now: float) -> list[str]:
        dead = [
            identity
            for identity, (reservation, made_at) in self.held.items()
            if self.leases.get(reservation.owner, made_at + 60) <= now
        ]
        for identity in dead:
            self.settle(identity, None)
        holding = {reservation.owner for reservation, _ in self.held.values()}
        self.leases = {owner: end for owner, end in self.leases.items() if end > now or owner in holding}
        return sorted(dead)


@dataclass
class Both:
    """The model and the backend, side by side. Names carry the history's number: one store does for all."""

    counters: Counters
    clock: ManualClock
    model: Model
    number: int

    def name(self, name: str) -> str:
        return f"{self.number}:{name}"

    async def run(self, steps: list[tuple[str, ...]]) -> None:
        for verb, *arguments in steps:
            await getattr(self, verb)(*arguments)
            await self.compare()
        for identity in list(self.model.held):
            assert await self.counters.release(identity)
            self.model.settle(identity, None)
        await self.compare()

    async def compare(self) -> None:
        keys = [self.name(key) for key in KEYS]
        assert await self.counters.read(keys) == {key: self.model.used(key) for key in keys}

    async def reserve(self, identity: str, owner: str, wanted: dict[str, tuple[int, int | None]]) -> None:
        reservation = Reservation(
            self.name(identity), self.name(owner), self.claims(wanted), {"n": self.number}
        )
        if reservation.id in self.model.held:
            return await self.reserve_again(reservation)
        verdict = await self.counters.reserve(reservation)
        assert verdict.refused == self.model.reserve(reservation, self.clock.now())
        assert verdict.used == tuple(self.model.used(claim.key) for claim in reservation.claims)

    async def count(self, wanted: dict[str, tuple[int, int | None]]) -> None:
        claims = self.claims({key: value for key, value in wanted.items() if key != "gauge"})
        verdict = await self.counters.count(claims)
        assert verdict.refused == self.model.count(claims, self.clock.now())
        assert verdict.used == tuple(self.model.used(claim.key) for claim in claims)

    async def reserve_again(self, reservation: Reservation) -> None:
        """A store may look at the limits first: then an id in use is refused like any other."""
        with suppress(ValueError):
            assert not (await self.counters.reserve(reservation)).granted

    def claims(self, wanted: dict[str, tuple[int, int | None]]) -> tuple[Claim, ...]:
        ends = {key: life and self.model.start + life for key, life in LIFETIMES.items()}
        return tuple(
            Claim(self.name(key), amount, limit, ends[key]) for key, (amount, limit) in wanted.items()
        )

    async def settle(self, identity: str, actual: dict[str, int]) -> None:
        named = {self.name(key): value for key, value in actual.items()}
        named[self.name("gauge")] = 0
        identity = self.name(identity)
        assert await self.counters.settle(identity, named) == self.model.settle(identity, named)

    async def release(self, identity: str) -> None:
        identity = self.name(identity)
        assert await self.counters.release(identity) == self.model.settle(identity, None)

    async def beat(self, owner: str, seconds: int) -> None:
        self.model.leases[self.name(owner)] = self.clock.now() + seconds
        await self.counters.beat(self.name(owner), self.clock.now() + seconds)

    async def advance(self, seconds: int) -> None:
        self.clock.advance(seconds)

    async def reap(self) -> None:
        found = await self.counters.reap(self.clock.now())
        assert sorted(reservation.id for reservation in found) == self.model.reap(self.clock.now())


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as opened:
        yield opened


def test_every_history_ends_as_in_the_model(place: Place, runner: asyncio.Runner) -> None:
    clock, numbers = ManualClock(), count()
    context = place.counters(clock)
    counters = runner.run(context.__aenter__())

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(STEPS, max_size=25))
    def check(steps: list[tuple[str, ...]]) -> None:
        runner.run(Both(counters, clock, Model(clock.now()), next(numbers)).run(steps))

    try:
        check()
    finally:
        runner.run(context.__aexit__(None, None, None))
