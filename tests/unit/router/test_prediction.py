"""The trained predictor, with the artefact that is shipped."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sentinella_plugins.router.prediction import Features, Predictor, Profile
from sentinella_plugins.router.prediction.artefact import ARTEFACT
from sentinella_plugins.router.prediction.names import Names, billions
from sentinella_plugins.vectors.models import Encoding

STRONG, WEAK = "gpt-4o", "mistralai/Mixtral-8x7B-Instruct-v0.1"
CHOICE = "Which planet is the largest?\nA. Mars\nB. Jupiter\nC. Venus\nD. Earth\nAnswer:"
WORD_PROBLEM = "Tom has 3 boxes with 12 apples each. He eats 5. How many apples are left?"
LONG_PROBLEM = (
    "A shop sells pens for $2 and books for $7 each. On Monday, 15 pens and 4 books were sold. On Tuesday, "
    "it sold twice as many pens and half as many books. On Wednesday, it gave a discount of 10% on "
    "everything, and sold 20 pens and 10 books. If the rent is $30 per day, how much is left after that?"
)


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor.load()


def encoding(seed: int) -> Encoding:
    vector = np.random.default_rng(seed).normal(size=384).astype(np.float32)
    return Encoding("", vector / np.linalg.norm(vector), np.zeros((0, 384), dtype=np.float32), ("a", "##b"))


def profile(predictor: Predictor, model: str, price: float | None = None) -> Profile:
    return predictor.profile(model, "openai", price, price, 128_000, ())


def quality(predictor: Predictor, features: Features, *profiles: Profile) -> NDArray[np.float64]:
    return predictor.predict(features, profiles).quality


def test_a_stronger_model_is_better_and_its_lead_grows_with_steps(predictor: Predictor) -> None:
    pair = profile(predictor, STRONG), profile(predictor, WEAK)
    short, long = (
        quality(predictor, predictor.features(text, None), *pair) for text in (WORD_PROBLEM, LONG_PROBLEM)
    )
    assert short[0] > short[1]
    assert long[0] - long[1] > short[0] - short[1]


@pytest.mark.parametrize(
    ("text", "task"),
    [
        (CHOICE, "knowledge"),
        (WORD_PROBLEM, "math"),
        (r"Find $\int_0^1 x^2 dx$ and \frac{1}{2} of it.", "math"),
        ("```python\ndef f(x):\n    return x\n```\nWhat does it do?", "code"),
        ("Write a function to reverse a list.", "code"),
        ("Summarize this article for me.", "summarisation"),
        ("Translate this to French: good morning", "translation"),
        ("Write me a poem about the sea.", "writing"),
        ("hello there", "chat"),
    ],
)
def test_tasks(predictor: Predictor, text: str, task: str) -> None:
    assert predictor.features(text, None).task == task


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("What is the capital of France?", "en"),
        ("Was ist die Hauptstadt und wie groß ist sie nicht?", "de"),
        ("東京の天気はどうですか", "ja"),
        ("한국의 수도는 어디입니까", "ko"),
        ("Какая столица России", "ru"),
    ],
)
def test_languages(predictor: Predictor, text: str, language: str) -> None:
    assert predictor.features(text, None).language == language


@pytest.mark.parametrize(
    "text",
    ["", " ", "\n", "word " * 100_000, "9" * 400_000, "😀" * 5_000, "\ud800", "A. x\n" * 3_000, "\x00"],
)
@pytest.mark.parametrize("embedded", [True, False])
def test_any_text_is_read(predictor: Predictor, text: str, embedded: bool) -> None:
    features = predictor.features(text, encoding(1) if embedded else None, messages=900, images=4, tools=100)
    said = predictor.predict(features, [profile(predictor, STRONG), profile(predictor, "unheard-of")])
    assert 0 <= features.complexity <= 1
    assert np.isfinite(features.values).all()
    assert ((said.quality > 0) & (said.quality < 1)).all()
    assert ((said.completion_tokens > 1) & (said.completion_tokens < 1e5)).all()


def test_an_unknown_model_is_doubted_and_a_dearer_one_trusted_more(predictor: Predictor) -> None:
    cheap, dear = profile(predictor, "acme-9", 0.1), profile(predictor, "acme-9", 30.0)
    known = profile(predictor, STRONG)
    said = predictor.predict(predictor.features(CHOICE, encoding(2)), [cheap, dear, known])
    assert (cheap.known, dear.known, known.known) == (False, False, True)
    assert said.quality[1] > said.quality[0]
    assert said.spread[0] / (said.quality[0] * (1 - said.quality[0])) > said.spread[2] / (
        said.quality[2] * (1 - said.quality[2])
    )


def test_scores_move_a_profile_and_lessen_doubt(predictor: Predictor) -> None:
    prior = profile(predictor, "unheard-of", 1.0)
    before = prior.ability.copy()
    features = [predictor.features(CHOICE, encoding(seed)) for seed in range(30)]
    bad, good = (predictor.fit_profile(features, [score] * 30, prior) for score in (0.0, 1.0))
    one = predictor.fit_profile(features[:1], [0.0], prior)
    said = predictor.predict(features[0], [bad, one, prior, good])
    assert (np.diff(said.quality) > 0).all()
    assert said.quality[0] < 0.4 and said.quality[3] > 0.85
    assert bad.known and bad.ability[1] < one.ability[1] < prior.ability[1]
    assert (prior.ability == before).all()
    unmoved = predictor.fit_profile([], [], prior)
    assert (unmoved.ability == before).all() and not unmoved.known


def test_scores_tell_prompts_apart(predictor: Predictor) -> None:
    prior = profile(predictor, WEAK)
    features = [predictor.features(text, encoding(seed)) for seed, text in enumerate([CHOICE, WORD_PROBLEM])]
    fitted = predictor.fit_profile(features * 40, [0.0, 1.0] * 40, prior)
    asked, calculated = (float(quality(predictor, one, fitted)[0]) for one in features)
    assert calculated > asked + 0.3


def test_many_scores_outweigh_what_was_known_and_few_do_not(predictor: Predictor) -> None:
    prior = profile(predictor, STRONG)
    features = [predictor.features(CHOICE, encoding(seed)) for seed in range(150)]
    at_first, after_one, after_all = (
        float(quality(predictor, features[0], one)[0])
        for one in (
            prior,
            predictor.fit_profile(features[:1], [0.0], prior),
            predictor.fit_profile(features, [0.0] * 150, prior),
        )
    )
    assert after_all < 0.1 < at_first - 0.25 < after_one < at_first
    assert predictor.fit_profile(features[:1], [0.0], prior).ability[1] <= prior.ability[1]


def test_scores_tell_prompts_apart_that_differ_little(predictor: Predictor) -> None:
    texts = [f"Write a function to {what} of a list." for what in ("find the sum", "find all the sums")]
    features = [predictor.features(text, encoding(1)) for text in texts]
    fitted = predictor.fit_profile(features * 60, [1.0, 0.0] * 60, profile(predictor, WEAK))
    short, long = (float(quality(predictor, one, fitted)[0]) for one in features)
    assert short > long + 0.06


def test_what_was_kept_is_restored(predictor: Predictor) -> None:
    features = predictor.features(LONG_PROBLEM, encoding(3))
    again = predictor.restore_features(features.values.copy(), features.task)
    assert (again.task, again.language) == (features.task, features.language)
    assert again.complexity == pytest.approx(features.complexity)
    known = predictor.restore_profile(STRONG, profile(predictor, STRONG).ability)
    assert known.known
    assert quality(predictor, again, known) == quality(predictor, features, profile(predictor, STRONG))


def test_no_model_at_all(predictor: Predictor) -> None:
    assert quality(predictor, predictor.features(CHOICE, None)).shape == (0,)


@pytest.mark.parametrize("damage", ["flip", "cut", "gone", "card", "format"])
def test_a_damaged_artefact_is_refused(tmp_path: Path, damage: str) -> None:
    folder = Path(shutil.copytree(ARTEFACT, tmp_path / "artefact"))
    weights, card = folder / "weights.npz", folder / "card.json"
    content = bytearray(weights.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
        weights.write_bytes(content)
    elif damage == "cut":
        weights.write_bytes(content[:-100])
    elif damage == "gone":
        weights.unlink()
    elif damage == "card":
        card.write_text("{")
    else:
        card.write_text("[]")
    with pytest.raises((OSError, ValueError)):
        Predictor.load(folder)


def test_names_of_catalogues() -> None:
    names = Names(["Meta-Llama-3-70B-Instruct", "gpt-4o-2024-08-06", "claude-3-5-sonnet-20241022"])
    assert names.find("meta/llama-3-70b") == "Meta-Llama-3-70B-Instruct"
    assert names.find("openai/gpt-4o") == "gpt-4o-2024-08-06"
    assert names.find("anthropic/claude-3-5-sonnet-latest") == "claude-3-5-sonnet-20241022"
    assert names.find("gpt-4o-mini") is None
    assert billions("qwen2.5-72b-instruct") == 72
    assert billions("mixtral-8x7b") == pytest.approx(33.3, abs=0.1)
    assert billions("gpt-4o") is None
