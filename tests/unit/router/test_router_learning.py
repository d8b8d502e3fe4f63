"""What calls and scores teach."""

from __future__ import annotations

import asyncio
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinella_plugins.kernel.call import Choice
from sentinella_plugins.kernel.clock import ManualClock
from sentinella_plugins.router.config import LearningConfig, RouterConfig
from sentinella_plugins.router.heuristic import HeuristicPredictor
from sentinella_plugins.router.learning import ALL, Live, Sample
from sentinella_plugins.router.lineup import lineup
from sentinella_plugins.router.outcomes import samples
from sentinella_plugins.router.profiles import Profiles
from sentinella_plugins.router.service import RouterService
from sentinella_plugins.router.teacher import Row
from tests.unit.router.parts import ANY, CARDS, LARGE, MIDDLE, SMALL, Shelf, answered, call, card, failed

MODELS = tuple(one.name for one in CARDS)
CONFIG = LearningConfig()


def live(**settings: object) -> Live:
    return Live(LearningConfig.model_validate(settings), 0.0)


def test_what_was_never_seen_is_assumed() -> None:
    columns = live().columns(MODELS, "code")
    assert columns.success == pytest.approx([0.995] * 3) and columns.first_ms == pytest.approx([800.0] * 3)
    assert columns.stretch.tolist() == [1.0] * 3


def test_failures_and_times_are_learned_for_a_task_and_a_little_for_all() -> None:
    lately = live()
    for _ in range(200):
        lately.record("acme-small", "code", Sample(ok=False), 0.0)
        lately.record("beta-middle", "code", Sample(ok=True, ms=5_200, first_ms=200, tokens=101), 0.0)
    code, other = lately.columns(MODELS, "code"), lately.columns(MODELS, "writing")
    assert code.success[0] < 0.01 < other.success[0] < 0.1 and code.success[2] == pytest.approx(0.995)
    assert code.first_ms[1] == pytest.approx(200, abs=20) and code.token_ms[1] == pytest.approx(50, abs=3)


def test_a_whole_answer_tells_its_length_in_time() -> None:
    lately = live()
    for _ in range(300):
        lately.record("acme-small", "code", Sample(ok=True, ms=300, tokens=200), 0.0)
    columns = lately.columns(MODELS, "code")
    assert columns.first_ms[0] + 199 * columns.token_ms[0] == pytest.approx(300, rel=0.1)


def test_longer_answers_of_all_models_make_no_model_look_dear() -> None:
    lately = live()
    for _ in range(500):
        lately.record("acme-small", "code", Sample(ok=True, ms=1, tokens=900, foreseen=300), 0.0)
    stretch = lately.columns(MODELS, "code").stretch
    assert stretch[0] == pytest.approx(3, rel=0.05) and stretch[1] == pytest.approx(stretch[0], rel=0.05)


def test_a_wordy_model_is_known_for_it() -> None:
    lately = live()
    for _ in range(500):
        lately.record("acme-small", "code", Sample(ok=True, ms=1, tokens=600, foreseen=300), 0.0)
        lately.record("beta-middle", "code", Sample(ok=True, ms=1, tokens=150, foreseen=300), 0.0)
    stretch = lately.columns(MODELS, "code").stretch
    assert stretch[0] == pytest.approx(2, rel=0.1) and stretch[1] == pytest.approx(0.5, rel=0.1)


def test_what_was_fades() -> None:
    lately = live(half_life_s=100)
    for _ in range(1_000):
        lately.record("acme-small", "code", Sample(ok=False), 0.0)
    before = lately.columns(MODELS, "code").success[0]
    lately.fade(2_000.0)
    assert before < 0.01 and lately.columns(MODELS, "code").success[0] == pytest.approx(0.995, abs=0.01)


@given(st.lists(st.tuples(st.integers(0, 2), st.booleans(), st.integers(0, 50)), max_size=60))
def test_two_workers_know_together_what_one_would_know(calls: list[tuple[int, bool, int]]) -> None:
    alone, workers = live(), [live(), live()]
    shared: dict[tuple[str, str], np.ndarray] = {}
    for turn, (model, ok, tokens) in enumerate(calls):
        sample = Sample(ok=ok, ms=tokens * 10.0, first_ms=5.0, tokens=tokens, foreseen=10.0)
        alone.record(MODELS[model], "code", sample, 0.0)
        worker = workers[turn % 2]
        worker.record(MODELS[model], "code", sample, 0.0)
        if turn % 3 == 0:
            for key, sums in worker.take().items():
                shared[key] = shared.get(key, 0) + sums
            worker.adopt(shared, 0.0)
    for _ in range(2):
        for worker in workers:
            for key, sums in worker.take().items():
                shared[key] = shared.get(key, 0) + sums
            worker.adopt(shared, 0.0)
    expected = alone.columns(MODELS, "code")
    for worker in workers:
        for name in ("success", "first_ms", "token_ms", "stretch"):
            found = getattr(worker.columns(MODELS, "code"), name)
            assert np.allclose(found, getattr(expected, name))


def test_what_could_not_be_shared_is_shared_later() -> None:
    lately = live()
    lately.record("acme-small", "code", Sample(ok=True, tokens=5), 0.0)
    news = lately.take()
    assert lately.take() == {}
    lately.give_back(news)
    assert lately.take().keys() == news.keys() == {("acme-small", "code"), ("acme-small", ALL), (ALL, "code")}


def test_memory_is_bounded() -> None:
    lately = live(max_entries=16)
    for number in range(1_000):
        lately.record(f"model-{number}", "code", Sample(ok=True), 0.0)
    assert len(list(lately.entries())) <= 16


def test_a_refused_request_says_nothing_about_its_model() -> None:
    assert list(samples(failed("acme-small", "content_filter"), 1)) == []
    assert [sample.ok for _, sample in samples(failed("acme-small"), 1)] == [False]


def test_drift_moves_the_choice() -> None:
    """The model that is chosen begins to fail; another one is, until it is well again."""
    clock, random = ManualClock(), Random(7)

    async def story() -> list[list[str]]:
        config = RouterConfig.model_validate(
            {"learning": {"half_life_s": 60}, "stickiness": {"enabled": False}}
        )
        service = RouterService(Shelf(), config, clock=clock)
        chosen: list[list[str]] = []
        for ill in (False, True, False):
            chosen.append([])
            for number in range(150):
                asked = await service.choose(call(f"Who was king {number}?"), ANY)
                fails = ill and asked.model == chosen[0][0] and random.random() < 0.8
                service.leave(asked, failed(asked.model) if fails else answered(asked.model))
                chosen[-1].append(asked.model)
                clock.advance(1.0 if ill else 5.0)
        return chosen

    before, during, after = asyncio.run(story())
    favourite = before[0]
    assert set(before) == {favourite}
    assert favourite not in during[-100:]
    assert after[-1] == favourite


HARD = "Prove that every finite integral domain is a field, step by step, and explain why it fails for rings."


def choose(service: RouterService, tenant: str, text: str = HARD) -> str:
    asked = asyncio.run(service.choose(call(text, tenant=tenant), ANY))
    choice = asked.note(Choice)
    assert choice is not None
    return choice.model


def test_a_tenants_own_results_move_its_choice_and_no_other() -> None:
    service = RouterService(Shelf(), RouterConfig())
    before = {tenant: choose(service, tenant) for tenant in ("acme", "other")}
    rows = [Row(f"{HARD} Number {n}.", name, float(name == SMALL.name)) for n in range(60) for name in MODELS]
    done = asyncio.run(service.calibrate("acme", rows))
    assert done.rows == 180 and done.models[SMALL.name] == (60, 1.0) and done.unknown == ()
    assert before["acme"] != SMALL.name == choose(service, "acme")
    assert choose(service, "other") == before["other"]


def test_results_of_unknown_models_are_named_and_left_out() -> None:
    retired = card("gpt-old", replaced_by="gpt-new", deprecated=True)
    service = RouterService(Shelf((*CARDS, retired)), RouterConfig())
    rows = [Row("Hi.", "gpt-old", 1.0), Row("Hi.", "gpt-new", 0.0), Row("Hi.", "nobody", 1.0)]
    done = asyncio.run(service.calibrate("acme", rows))
    assert done.unknown == ("nobody",)
    assert done.models == {"gpt-new": (1, 0.0)}, "both names are one model, and the later score counts"


def test_scores_move_an_ability_towards_them() -> None:
    predictor = HeuristicPredictor()
    prior = predictor.profile("m", "p", 1.0, 4.0, None, ())
    features = [predictor.features(f"Question {n}?", None) for n in range(50)]
    good, bad = (predictor.fit_profile(features, [score] * 50, prior) for score in (1.0, 0.0))
    assert bad.ability[0] < prior.ability[0] < good.ability[0] and good.known and not prior.known
    assert predictor.predict(features[0], [good]).quality[0] > 0.9
    assert predictor.predict(features[0], [bad]).quality[0] < 0.15


def test_profiles_of_few_tenants_are_kept() -> None:
    models = lineup(CARDS)
    profiles = Profiles(HeuristicPredictor(), max_tenants=3)
    for number in range(10):
        tenant = f"t{number}"
        assert [profile.known for profile in profiles.of(tenant, models)] == [False] * 3
        assert tenant in profiles.wanted
        profiles.load(tenant, ())
    assert sum(f"t{number}" in profiles for number in range(10)) == 3 and profiles.wanted == set()


def test_dearer_models_are_thought_to_be_better() -> None:
    predictor = HeuristicPredictor()
    profiles = [Profiles(predictor, 1).prior(one) for one in (SMALL, MIDDLE, LARGE)]
    quality = predictor.predict(predictor.features(HARD, None), profiles).quality
    assert quality[0] < quality[1] < quality[2]
