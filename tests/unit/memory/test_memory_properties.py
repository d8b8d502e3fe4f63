"""Random histories of turns against a list."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sentinella_plugins.kernel.call import Json, Outcome
from sentinella_plugins.memory.archive import Shelf
from tests.unit.memory.worker import Worker, assistant, call_of, opened, shown, success, user

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["answered", "failed", "cancelled", "twice", "deleted"]),
        st.sampled_from("ab"),
        st.integers(0, 1),
        st.text(st.characters(codec="utf-8"), max_size=8),
    ),
    max_size=14,
)
_numbers = itertools.count()


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def workers(runner: asyncio.Runner, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Worker]]:
    """Two workers on one database."""
    file: Path = tmp_path_factory.mktemp("memory") / "db.sqlite"
    rooms = [opened(f"sqlite:///{file}", summary="off") for _ in range(2)]
    yield [runner.run(room.__aenter__()) for room in rooms]
    for room in rooms:
        runner.run(room.__aexit__(None, None, None))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_nothing_is_lost_doubled_or_out_of_order(
    runner: asyncio.Runner, workers: list[Worker], steps: list[tuple[str, str, int, str]]
) -> None:
    runner.run(_compare(workers, steps, next(_numbers)))


async def _compare(workers: list[Worker], steps: list[tuple[str, str, int, str]], number: int) -> None:
    model: dict[str, list[Json]] = {}
    for how, name, at, text in steps:
        worker, session = workers[at], f"{number}-{name}"
        if how == "deleted":
            if model.pop(session, None):
                await worker.service.library.delete(Shelf("acme"), session)
            continue
        call = await worker.stage.enter(call_of(user(text), session=session))
        assert shown(call) == [*model.get(session, []), user(text)]
        if how in ("failed", "cancelled"):
            await worker.stage.leave(call, Outcome(status="error" if how == "failed" else "cancelled"))
            continue
        for _ in range(2 if how == "twice" else 1):
            await worker.stage.leave(call, success(f"re: {text}"))
        model.setdefault(session, []).extend([user(text), assistant(f"re: {text}")])
    for session, messages in model.items():
        for worker in workers:
            assert await worker.shown(session) == messages
