"""Whatever happens, a tenant sees its own answers only."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from sentinella_plugins.cache.invalidation import Invalidation
from sentinella_plugins.cache.models import CacheMiss
from sentinella_plugins.kernel.call import Answered, CacheMark
from sentinella_plugins.kernel.clock import ManualClock
from tests.unit.cache.parts import Worker, call, success, worker

TENANTS = st.sampled_from(["acme", "other"])
QUESTIONS = st.sampled_from(
    [
        "What is the capital of France?",
        "What's the capital city of France?",
        "capital of France",
        "What is 12 times 3?",
        "What is 13 times 3?",
    ]
)
WORKERS = st.integers(0, 1)


class Tenants(RuleBasedStateMachine):
    """Every answer names its tenant and question."""

    def __init__(self) -> None:
        super().__init__()
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        self._clock = ManualClock()
        self._workers: list[Worker] = []

    @initialize()
    def start(self) -> None:
        async def begin() -> None:
            folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
            for _ in range(2):
                opened = worker(folder, clock=self._clock, personal="exact", ttl_s=50)
                self._workers.append(await self._stack.enter_async_context(opened))

        self._runner.run(begin())

    @rule(number=WORKERS, tenant=TENANTS, question=QUESTIONS, stream=st.booleans())
    def ask(self, number: int, tenant: str, question: str, stream: bool) -> None:
        async def go() -> None:
            one = self._workers[number]
            asked = await one.service.lookup(call(question, tenant=tenant, stream=stream))
            answered, mark = asked.note(Answered), asked.note(CacheMark)
            assert mark is not None
            if answered is not None:
                told = str(answered.reply.body["choices"])
                assert f"{tenant}|" in told
                assert ("12" in question) == ("12" in told) and ("13" in question) == ("13" in told)
                assert mark.age_s is not None and mark.age_s < 50
            await one.service.keep(asked, success(f"{tenant}| {question}"))

        self._runner.run(go())

    @rule(number=WORKERS, tenant=TENANTS, question=QUESTIONS)
    def invalidate(self, number: int, tenant: str, question: str) -> None:
        async def go() -> None:
            one = self._workers[number]
            other = "other" if tenant == "acme" else "acme"
            await one.service.write()
            before = (await one.service.stats(other)).entries
            await one.service.invalidate(tenant, Invalidation(similar_to=question, threshold=0.5))
            assert (await one.service.stats(other)).entries == before
            with pytest.raises(CacheMiss):
                asked = call(question, tenant=tenant, options={"cache": {"mode": "only"}})
                await one.service.lookup(asked)

        self._runner.run(go())

    @rule(number=WORKERS)
    def sync(self, number: int) -> None:
        self._runner.run(self._workers[number].sync())

    @rule(seconds=st.integers(1, 30))
    def wait(self, seconds: int) -> None:
        self._clock.advance(seconds)

    def teardown(self) -> None:
        self._runner.run(self._stack.aclose())
        self._runner.close()


def test_no_answer_ever_crosses_to_another_tenant() -> None:
    run_state_machine_as_test(
        Tenants,
        settings=settings(
            max_examples=20,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
