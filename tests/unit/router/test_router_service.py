"""The router's verbs: choosing, staying, explaining, learning, and going on without its parts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from sentinella_plugins.kernel.call import Answered, Call, Choice, Outcome, Principal, Reply
from sentinella_plugins.kernel.clock import Clock, ManualClock
from sentinella_plugins.kernel.errors import BadRequest, ModelForbidden, Unavailable
from sentinella_plugins.kernel.events import Events, PartFailed
from sentinella_plugins.kernel.standing import Standing
from sentinella_plugins.router.config import RouterConfig
from sentinella_plugins.router.heuristic import HeuristicPredictor
from sentinella_plugins.router.models import NoDecision, NoModelFits, Policy
from sentinella_plugins.router.service import RouterService
from sentinella_plugins.router.stage import RouterStage
from sentinella_plugins.router.teacher import Row
from sentinella_plugins.storage.database import Database
from sentinella_plugins.vectors.models import Encoding
from tests.unit.router.parts import (
    ANY,
    CARDS,
    LARGE,
    MIDDLE,
    SMALL,
    Letters,
    Shelf,
    answered,
    call,
    card,
    encoding,
    failed,
)

pytestmark = pytest.mark.asyncio
MEMBER = Principal(tenant="acme", key_id="key_1")
ADMIN = Principal(tenant="default", key_id="key_0", role="admin")
HARD = "Prove step by step that the square root of 2 is irrational, and explain why it matters."


def service(**settings: Any) -> RouterService:
    return RouterService(Shelf(), RouterConfig.model_validate(settings))


@asynccontextmanager
async def database(folder: Path, clock: Clock) -> AsyncIterator[Database]:
    opened = Database(f"sqlite:///{folder}/sentinella.db", clock=clock)
    await opened.open()
    yield opened
    await opened.close()


def choice(asked: Call) -> Choice:
    found = asked.note(Choice)
    assert found is not None and found.model == asked.model
    return found


async def test_a_choice_is_explained_in_the_answer() -> None:
    made = choice(await service().choose(call(), ANY))
    public = made.public()
    assert public["reason"] == "balanced" and public["task"] == "general"
    assert isinstance(public["complexity"], float)
    assert public["candidates"] == list(made.candidates) and made.candidates[0] == made.model


@pytest.mark.parametrize(
    ("objective", "expected"), [("cheapest", SMALL), ("best", LARGE), ("fastest", None), ("balanced", None)]
)
async def test_request_then_tenant_then_settings_say_what_is_wanted(objective: Any, expected: Any) -> None:
    policy = Policy(allowed=lambda _: True, objective="cheapest")
    asked = await service(objective="best").choose(call(HARD, routing={"objective": objective}), policy)
    assert choice(asked).reason == objective and (expected is None or asked.model == expected.name)
    assert choice(await service(objective="best").choose(call(HARD), policy)).reason == "cheapest"
    assert choice(await service(objective="best").choose(call(HARD), ANY)).reason == "best"


async def test_the_default_model_can_be_asked_always() -> None:
    strategy = {"strategy": "default_model", "default_model": MIDDLE.name}
    assert choice(await service(**strategy).choose(call(), ANY)).reason == "default_model"
    policy = Policy(allowed=lambda name: name != MIDDLE.name)
    made = choice(await service(**strategy).choose(call(), policy))
    assert (made.model, made.reason) == (SMALL.name, "cheapest")


async def test_embeddings_go_to_the_cheapest_model_for_them() -> None:
    shelf = Shelf((*CARDS, card("e-dear", 2.0, mode="embedding"), card("e-cheap", 1.0, mode="embedding")))
    asked = await RouterService(shelf, RouterConfig()).choose(call(route="/v1/embeddings", input="x"), ANY)
    assert asked.model == "e-cheap"
    with pytest.raises(BadRequest):
        RouterService(shelf, RouterConfig()).check("e-dear", "/v1/chat/completions")


async def test_nothing_allowed_is_forbidden_and_nothing_fitting_says_why() -> None:
    with pytest.raises(ModelForbidden):
        await service().choose(call(), Policy(allowed=lambda _: False))
    policy = Policy(allowed=lambda name: name != LARGE.name, exclude=("acme",))
    with pytest.raises(NoModelFits) as caught:
        await service().choose(call(routing={"min_quality": 1.0}), policy)
    error = caught.value
    assert error.status == 400 and error.code == "no_model_fits" and error.param == "routing"
    assert error.details() == {"excluded": {SMALL.name: "excluded", MIDDLE.name: "quality_too_low"}}
    assert "excluded: 1, quality_too_low: 1" in error.message and LARGE.name not in error.message


async def test_only_models_with_a_key_are_chosen_unless_there_are_none() -> None:
    cards = (card("a-demo", 0.1, demo=True), card("b-keyed", 50.0))
    assert (await RouterService(Shelf(cards), RouterConfig()).choose(call(), ANY)).model == "b-keyed"
    asked = await RouterService(Shelf(cards[:1]), RouterConfig()).choose(call(), ANY)
    assert asked.model == "a-demo"


async def test_a_broken_model_is_left_alone() -> None:
    favourite = (await service().choose(call(), ANY)).model
    router = RouterService(Shelf(), RouterConfig(), broken=favourite.__eq__)
    asked = await router.choose(call(), ANY)
    assert asked.model != favourite
    router = RouterService(Shelf(), RouterConfig(), broken=lambda _: True)
    assert (await router.choose(call(), ANY)).model == favourite


async def test_a_conversation_stays_on_its_model_unless_the_gain_is_large() -> None:
    router, easy = service(), "Say hello to Bob from accounting, would you?"
    objective = {"objective": "best"}
    first = await router.choose(call(easy, session="s"), ANY)
    second = await router.choose(call(HARD, session="s"), ANY)
    assert second.model == first.model
    broad = service(stickiness={"switch_gain": 0.0})
    chosen = [
        (await broad.choose(call(text, session="s", routing=objective), ANY)).model for text in (easy, HARD)
    ]
    assert set(chosen) == {LARGE.name}
    cheap = await broad.choose(call(easy, session="s", routing={"objective": "cheapest"}), ANY)
    assert cheap.model == SMALL.name and choice(cheap).reason == "cheapest"


async def test_a_conversation_is_known_by_its_beginning_too() -> None:
    router = service(stickiness={"switch_gain": 1.0})
    user: Any = {"role": "user", "content": "Tell me a short story about a lighthouse keeper."}
    first = await router.choose(call(messages=[user], routing={"objective": "best"}), ANY)
    turns = [
        user,
        {"role": "assistant", "content": "Once."},
        {"role": "user", "content": "Now make it much sadder, please, will you?"},
    ]
    second = await router.choose(call(messages=turns), ANY)
    assert second.model == first.model == LARGE.name and choice(second).reason == "session"
    alone = await router.choose(call(messages=[turns[2]]), ANY)
    assert alone.model != LARGE.name


async def test_a_conversation_moves_with_the_model_that_answered() -> None:
    router = service(stickiness={"switch_gain": 1.0})
    asked = await router.choose(call(session="s"), ANY)
    router.leave(asked, answered(LARGE.name))
    assert (await router.choose(call(session="s"), ANY)).model == LARGE.name


async def test_another_worker_knows_the_conversation(tmp_path: Path) -> None:
    clock = ManualClock()
    async with database(tmp_path, clock) as opened:
        one, other = (
            RouterService(
                Shelf(),
                RouterConfig.model_validate({"stickiness": {"switch_gain": 1.0}}),
                database=opened,
                clock=clock,
            )
            for _ in range(2)
        )
        asked = await one.choose(call(session="s", routing={"objective": "best"}), ANY)
        one.leave(asked, answered(asked.model))
        await one.round()
        found = await other.choose(call(session="s"), ANY)
        assert (found.model, choice(found).reason) == (LARGE.name, "session")
        stranger = await other.choose(call(session="s", tenant="other"), ANY)
        assert stranger.model != LARGE.name


async def test_what_the_tenant_can_still_pay_steers_the_choice() -> None:
    router = service(objective="best")
    asked = await router.choose(call(), ANY)
    assert asked.model == LARGE.name
    poor = asked.with_note(Standing(budget_left={"cost_per_day_usd": "0.0002", "requests_per_minute": 5}))
    router.leave(poor, answered(LARGE.name))
    assert (await router.choose(call(), ANY)).model == SMALL.name
    assert (await router.choose(call(tenant="other"), ANY)).model == LARGE.name


async def test_exploration_tries_another_model_and_says_so() -> None:
    exploring = {"mode": "epsilon", "share": 1.0, "max_quality_loss": 1.0, "max_cost_factor": 1000.0}
    router = service(exploration=exploring)
    reasons = {choice(await router.choose(call(), ANY)).reason for _ in range(30)}
    assert reasons == {"exploration", "balanced"}
    again = [(await router.choose(call(id="req_1"), ANY)).model for _ in range(5)]
    assert len(set(again)) == 1


CANARY = {"name": "canary", "model": LARGE.name, "share": 0.5}


async def test_a_share_of_calls_goes_to_another_model() -> None:
    router = service(experiments=[CANARY])
    calls = [await router.choose(call(f"Hello number {n}, how do you do today?"), ANY) for n in range(200)]
    treated = [asked for asked in calls if choice(asked).reason == "experiment"]
    assert {asked.model for asked in treated} == {LARGE.name} and 70 < len(treated) < 130
    for asked in calls:
        router.leave(asked, failed(asked.model) if asked.model == LARGE.name else answered(asked.model))
    (result,) = router.stats(ADMIN)["experiments"]  # type: ignore[misc]
    assert result["real"] and result["difference"] < -0.5 and result["control"] + result["treatment"] == 200
    assert router.stats(MEMBER)["experiments"] == []


async def test_calls_that_the_other_model_cannot_take_are_no_part_of_it() -> None:
    router = service(experiments=[{**CANARY, "share": 1.0}])
    asked = await router.choose(call(), Policy(allowed=lambda name: name != LARGE.name))
    assert choice(asked).reason == "balanced"
    router.leave(asked, answered(asked.model))
    (result,) = router.stats(ADMIN)["experiments"]  # type: ignore[misc]
    assert result["control"] == result["treatment"] == 0


async def test_a_named_model_can_be_replaced_for_a_share() -> None:
    router = service(
        experiments=[{"name": "swap", "replaces": SMALL.name, "model": MIDDLE.name, "share": 0.5}]
    )
    stage = RouterStage(router, policy_of(ANY))
    calls = [await stage.enter(call(f"Number {n}?", model=SMALL.name)) for n in range(100)]
    assert 25 < sum(asked.model == MIDDLE.name for asked in calls) < 75
    assert (await stage.enter(call(model=LARGE.name))).model == LARGE.name
    forbidding = RouterStage(router, policy_of(Policy(allowed=SMALL.name.__eq__)))
    assert {(await forbidding.enter(call(f"{n}?", model=SMALL.name))).model for n in range(20)} == {
        SMALL.name
    }


def policy_of(policy: Policy) -> Any:
    async def find(_call: Call) -> Policy:
        return policy

    return find


async def test_an_answer_that_is_there_needs_no_model() -> None:
    asked = call().with_note(Answered(Reply({}, "cache")))
    assert await RouterStage(service(), policy_of(ANY)).enter(asked) is asked


async def test_the_vector_of_another_room_is_used() -> None:
    encoder = Letters()
    router = RouterService(Shelf(), RouterConfig(), encoder=encoder)
    text = "What is the capital of France?"
    known = await router.dry_run(call(text).with_note(encoding(text)), ANY)
    assert encoder.asked == [] and known["features"]["embedded"] is True  # type: ignore[index]
    await router.dry_run(call(text).with_note(encoding("something else")), ANY)
    assert encoder.asked == [text]


class Slow(Letters):
    async def encode(self, texts: Sequence[str]) -> Sequence[Encoding]:
        await asyncio.Event().wait()
        raise AssertionError


class Broken(Letters):
    async def encode(self, texts: Sequence[str]) -> Sequence[Encoding]:
        raise Unavailable


@pytest.mark.parametrize("encoder", [Slow(), Broken(), None])
async def test_without_a_vector_the_structure_decides(encoder: Any) -> None:
    config = RouterConfig.model_validate({"reading": {"timeout_ms": 5}})
    router = RouterService(Shelf(), config, encoder=encoder)
    made = await router.dry_run(call(), ANY)
    assert made["features"]["embedded"] is False and made["model"]  # type: ignore[index]


@pytest.mark.parametrize("content", [None, b"not an artefact"])
async def test_without_a_sound_artefact_price_and_complexity_decide(
    tmp_path: Path, content: bytes | None
) -> None:
    if content is not None:
        for name in ("model.npz", "card.json", "predictor.npz", "router.npz"):
            (tmp_path / name).write_bytes(content)
    events, heard = Events(), []

    async def hear(event: PartFailed) -> None:
        heard.append(event.part)

    events.subscribe(PartFailed, hear)
    config = RouterConfig(artefact=str(tmp_path))
    router = RouterService(Shelf(), config, events=events)
    await router.open()
    assert heard == ["router"] and router.problem and "artefact" in router.problem
    assert router.stats(MEMBER)["problem"] == router.problem
    assert choice(await router.choose(call(HARD), ANY)).reason == "balanced"


class Confused(HeuristicPredictor):
    def predict(self, features: Any, profiles: Any) -> Any:
        raise ZeroDivisionError


@pytest.mark.parametrize("on_failure", ["open", "closed"])
async def test_a_failure_of_prediction_is_no_failure_of_the_call(on_failure: Any) -> None:
    router = RouterService(Shelf(), RouterConfig(on_failure=on_failure), predictor=Confused())
    if on_failure == "closed":
        with pytest.raises(Unavailable):
            await router.choose(call(), ANY)
        return
    made = choice(await router.choose(call(), ANY))
    assert (made.model, made.reason) == (SMALL.name, "cheapest")


async def test_a_forgotten_tenant_starts_anew(tmp_path: Path) -> None:
    clock = ManualClock()
    async with database(tmp_path, clock) as opened:
        for kept in (None, opened):
            router = RouterService(Shelf(), RouterConfig(), database=kept, clock=clock)
            before = await predicted(router, SMALL.name, "acme")
            await router.calibrate("acme", [Row(HARD, SMALL.name, 0.0)] * 1)
            asked = await router.choose(call(HARD), ANY)
            router.leave(asked, answered(asked.model))
            assert await predicted(router, SMALL.name, "acme") < before
            await router.forget("acme")
            await router.round()
            assert await predicted(router, SMALL.name, "acme") == before
            with pytest.raises(NoDecision):
                await router.explain(MEMBER, asked.id)


async def test_a_model_that_nobody_knows_is_a_candidate() -> None:
    strange = card("strange", None, context_window=None, max_output_tokens=None)
    asked = await RouterService(Shelf((strange,)), RouterConfig()).choose(call(), ANY)
    assert asked.model == "strange"


async def test_why_a_call_went_to_its_model(tmp_path: Path) -> None:
    clock = ManualClock()
    async with database(tmp_path, clock) as opened:
        router = RouterService(Shelf(), RouterConfig(), database=opened, clock=clock)
        asked = await router.choose(call(HARD, routing={"max_cost_usd": 0.004}), ANY)
        before = await router.explain(MEMBER, asked.id)
        assert before["outcome"] is None and before["model"] == asked.model
        router.leave(asked, answered(asked.model))
        await router.round()
        other = RouterService(Shelf(), RouterConfig(), database=opened, clock=clock)
        found: Any = await other.explain(MEMBER, asked.id)
        assert found == await router.explain(MEMBER, asked.id) == await other.explain(ADMIN, asked.id)
        with pytest.raises(NoDecision):
            await router.explain(Principal(tenant="other", key_id="k"), asked.id)
        with pytest.raises(NoDecision):
            await other.explain(Principal(tenant="other", key_id="k"), asked.id)
        with pytest.raises(NoDecision):
            await router.explain(MEMBER, "req_nobody")
    assert found["outcome"]["status"] == "success" and found["features"]["task"] == "maths"
    assert [one["excluded"] for one in found["candidates"]] == [None, None, "too_costly"]
    assert found["bounds"] == {"max_cost_usd": 0.004}
    assert HARD not in str(found), "what was asked is not kept"


async def test_models_that_a_tenant_may_not_use_are_not_shown() -> None:
    router = service()
    found = await router.dry_run(call(), Policy(allowed=lambda name: name != LARGE.name))
    assert LARGE.name not in str(found)


async def predicted(router: RouterService, model: str, tenant: str) -> float:
    found: Any = await router.dry_run(call(HARD, tenant=tenant), ANY)
    return next(one["predicted_quality"] for one in found["candidates"] if one["model"] == model)


async def test_feedback_changes_what_a_tenant_gets(tmp_path: Path) -> None:
    clock = ManualClock()
    async with database(tmp_path, clock) as opened:
        router = RouterService(Shelf(), RouterConfig(), database=opened, clock=clock)
        first = (await router.choose(call(HARD), ANY)).model
        before = await predicted(router, first, "acme"), await predicted(router, first, "other")
        for _ in range(25):
            asked = await router.choose(call(HARD), ANY)
            router.leave(asked, answered(first))
            assert await router.feedback(MEMBER, asked.id, 0.0, "wrong") == first
            await router.feedback(MEMBER, asked.id, 0.0, "still wrong")
        await router.round()
        assert (await router.choose(call(HARD), ANY)).model != first
        assert await predicted(router, first, "acme") < before[0] / 2
        assert await predicted(router, first, "other") == before[1] == before[0]
        second = RouterService(Shelf(), RouterConfig(), database=opened, clock=clock)
        await second.choose(call(HARD), ANY)
        await second.round()
        assert (await second.choose(call(HARD), ANY)).model != first, "another worker learned it too"


async def test_feedback_is_for_ones_own_calls() -> None:
    router = service()
    asked = await router.choose(call(), ANY)
    with pytest.raises(NoDecision):
        await router.feedback(MEMBER, asked.id, 1.0)  # it has not ended yet
    router.leave(asked, answered(asked.model))
    with pytest.raises(NoDecision):
        await router.feedback(Principal(tenant="other", key_id="k"), asked.id, 1.0)
    assert await router.feedback(MEMBER, asked.id, 1.0) == asked.model


async def test_feedback_counts_once_in_an_experiment() -> None:
    router = service(experiments=[{**CANARY, "metric": "feedback"}])
    asked = await router.choose(call(), ANY)
    router.leave(asked, answered(asked.model))
    for score in (0.0, 1.0):
        await router.feedback(MEMBER, asked.id, score)
    (result,) = router.stats(ADMIN)["experiments"]  # type: ignore[misc]
    assert result["control"] + result["treatment"] == 1


async def test_calls_with_a_named_model_teach_too() -> None:
    router = service()
    asked = call("Write a Python function that sorts.", model=SMALL.name)
    for _ in range(40):
        router.leave(asked, failed(SMALL.name))
    await router.round()
    lines: Any = router.stats(ADMIN)["models"]
    found = {line["task"]: line for line in lines if line["model"] == SMALL.name}
    assert found["code"]["calls"] == found["*"]["calls"] == 40 and found["code"]["success_rate"] < 0.1
    router.leave(call("Hi!", model=SMALL.name, id="req_named"), answered(SMALL.name))
    assert await router.feedback(MEMBER, "req_named", 0.5) == SMALL.name
    assert all("calls" not in line for line in router.stats(MEMBER)["models"])  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "outcome", [Outcome(status="refused"), Outcome(status="success", model=SMALL.name, cached=True)]
)
async def test_what_no_model_answered_teaches_nothing(outcome: Outcome) -> None:
    router = service()
    router.leave(call(model=SMALL.name), outcome)
    await router.round()
    assert router.stats(ADMIN)["models"] == []


async def test_an_outage_of_the_database_stops_nothing(tmp_path: Path) -> None:
    clock = ManualClock()
    async with database(tmp_path, clock) as opened:
        router = RouterService(Shelf(), RouterConfig(), database=opened, clock=clock)
        away = Database("postgresql://nobody@127.0.0.1:1/x", clock=clock, timeout_s=0.1)
        alone = RouterService(Shelf(), RouterConfig(), database=away, clock=clock)
        for one in (router, alone):
            asked = await one.choose(call(session="s"), ANY)
            one.leave(asked, answered(asked.model))
            await one.round()
        assert router.stats(ADMIN)["models"] == alone.stats(ADMIN)["models"] != []
        assert (await alone.explain(MEMBER, asked.id))["model"] == asked.model
