"""A second model in the background."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from sentinella_plugins.kernel.asking import Question
from sentinella_plugins.kernel.call import Outcome, Principal
from sentinella_plugins.kernel.clock import ManualClock
from sentinella_plugins.kernel.errors import UpstreamFailed
from sentinella_plugins.router.config import RouterConfig
from sentinella_plugins.router.service import RouterService
from sentinella_plugins.router.shadow import agreed, answer_text
from tests.unit.router.parts import ANY, LARGE, SMALL, Letters, Shelf, answered, call

pytestmark = pytest.mark.asyncio
ADMIN = Principal(tenant="default", key_id="k", role="admin")


class Second:
    """Answers what it is asked, once `go` is set."""

    def __init__(self) -> None:
        self.asked: list[Question] = []
        self.go = asyncio.Event()
        self.text = "Paris."
        self.fails = False

    async def __call__(self, question: Question) -> Outcome:
        self.asked.append(question)
        await self.go.wait()
        if self.fails:
            raise UpstreamFailed
        return answered(question.model, text=self.text, usd="0.006")


@pytest_asyncio.fixture
async def second() -> AsyncIterator[Second]:
    yield Second()


def router(second: Second, **settings: Any) -> RouterService:
    shadow = {"model": LARGE.name, "share": 1.0, **settings}
    config = RouterConfig.model_validate({"shadow": shadow})
    return RouterService(Shelf(), config, encoder=Letters(), ask=second, clock=ManualClock())


async def one_call(service: RouterService, model: str = SMALL.name, **fields: Any) -> None:
    asked = await service.choose(call(**fields), ANY)
    service.leave(asked, answered(model))


async def test_answers_are_compared(second: Second) -> None:
    service = router(second)
    second.go.set()
    await one_call(service, temperature=0.5)
    await service.settle_shadows()
    (question,) = second.asked
    assert (question.purpose, question.model) == ("shadow", LARGE.name)
    assert question.principal.tenant == "acme" and question.body["temperature"] == 0.5
    (line,) = service.stats(ADMIN)["shadow"]  # type: ignore[misc]
    assert line["model"] == SMALL.name and line["shadow"] == LARGE.name
    assert (line["compared"], line["agreement"]) == (1, 1.0)


async def test_its_own_answers_and_strange_ones_are_not_compared(second: Second) -> None:
    service = router(second, tenants=["acme"])
    service.leave(call(model=LARGE.name), answered(LARGE.name))
    service.leave(call(tenant="other"), answered(SMALL.name))
    service.leave(call(route="/v1/completions"), answered(SMALL.name))
    service.leave(call(), answered(SMALL.name, text=""))
    await service.settle_shadows()
    assert second.asked == []


async def test_few_at_once_and_not_beyond_the_budget(second: Second) -> None:
    service = router(second, max_concurrency=2, budget_usd_per_day=0.015)
    for _ in range(5):
        await one_call(service)
    await asyncio.sleep(0)
    assert len(second.asked) == 2
    second.go.set()
    await service.settle_shadows()
    for _ in range(5):
        await one_call(service)
        await service.settle_shadows()
    assert len(second.asked) == 2, "0.012 of 0.015 dollars are spent, and one costs 0.006"


async def test_a_failure_is_nobodys_trouble(second: Second) -> None:
    service = router(second)
    second.fails = True
    second.go.set()
    await one_call(service)
    await service.settle_shadows()
    assert service.stats(ADMIN)["shadow"] == []


async def test_closing_ends_what_runs(second: Second) -> None:
    service = router(second)
    await one_call(service)
    await asyncio.sleep(0)
    await service.close()
    assert len(second.asked) == 1


@pytest.mark.parametrize(("learn", "known"), [(True, [LARGE.name]), (False, [])])
async def test_agreement_may_teach(second: Second, learn: bool, known: list[str]) -> None:
    service = router(second, learn=learn)
    second.go.set()
    await one_call(service)
    await service.settle_shadows()
    await service.round()
    assert service.stats(Principal(tenant="acme", key_id="k"))["calibrated"] == known


async def test_agreement_is_a_share() -> None:
    assert [agreed(cosine) for cosine in (-1.0, 0.4, 0.65, 1.0)] == [0.0, 0.0, pytest.approx(0.5), 1.0]
    assert answer_text(None) == answer_text({"choices": [{"message": {"content": None}}]}) == ""
