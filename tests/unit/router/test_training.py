"""Training, on answers that were planted."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from sentinella_plugins.router.prediction import Predictor
from sentinella_plugins.router.rows import read_rows
from sentinella_plugins.router.training import TooLittleData, train
from sentinella_plugins.vectors.models import Encoding

MODELS = {"small-1b": -1.0, "middle-8b": 0.0, "large-70b": 2.5}
TOPICS = ("rivers", "theorems")


def encode(texts: Sequence[str]) -> list[Encoding]:
    """Texts of a topic lie together."""
    made = []
    for text in texts:
        vector = np.random.default_rng(len(text)).normal(size=384) * 0.02
        vector[0 if TOPICS[0] in text else 1] += 1.0
        vector /= np.linalg.norm(vector)
        made.append(Encoding(text, vector.astype(np.float32), np.zeros((0, 384), dtype=np.float32), ()))
    return made


def planted(rows: int = 240) -> list[dict[str, object]]:
    """Rivers are easy and theorems hard."""
    random, made = np.random.default_rng(7), []
    for number in range(rows):
        topic = TOPICS[number % 2]
        hard = 2.0 if topic == "theorems" else -2.0
        prompt = f"What of {topic} is meant by case {number}?\nA. this\nB. that\nC. both\nD. none"
        scores = {name: int(random.random() < 1 / (1 + np.exp(hard - able))) for name, able in MODELS.items()}
        lengths = {name: 40 + 10 * len(name) for name in MODELS}
        made.append({"task": "mmlu", "prompt": prompt, "scores": scores, "output_chars": lengths})
    return made


def written(file: Path, rows: Sequence[dict[str, object]]) -> Path:
    text = "".join(json.dumps(row) + "\n" for row in rows).encode()
    file.write_bytes(gzip.compress(text) if file.suffix == ".gz" else text)
    return file


def test_what_was_planted_is_found(tmp_path: Path) -> None:
    card = train([written(tmp_path / "rows.jsonl.gz", planted())], tmp_path / "out", 0, encode)
    predictor = Predictor.load(tmp_path / "out")
    profiles = [predictor.profile(name, "", None, None, None, ()) for name in MODELS]
    texts = [f"What of {topic} is meant by case 999?\nA. this\nB. that\nC. both\nD. none" for topic in TOPICS]
    easy, hard = (
        predictor.predict(predictor.features(text, encode([text])[0]), profiles).quality for text in texts
    )
    assert card["rows"] == 240 and all(profile.known for profile in profiles)
    assert (easy > hard + 0.1).all()
    assert (np.diff(easy) > 0).all() and (np.diff(hard) > 0).all()
    assert hard[2] - hard[0] > easy[2] - easy[0]


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    file = written(tmp_path / "rows.jsonl", planted(80))
    for name in ("one", "two"):
        train([file], tmp_path / name, 3, encode)
    for name in ("weights.npz", "card.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    card = json.loads((tmp_path / "one" / "card.json").read_text())
    assert card["models"] == sorted(MODELS) and len(card["sha256"]) == 64


def test_too_few_rows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TooLittleData):
        train([written(tmp_path / "rows.jsonl", planted(10))], tmp_path / "out", 0, encode)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("line", ["{", '{"task": "x"}', "[]", '"text"'])
def test_a_line_that_is_no_row_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "rows.jsonl").write_text(f"\n{line}\n")
    with pytest.raises(ValueError, match=r"rows\.jsonl:2 is not a row"):
        read_rows([tmp_path / "rows.jsonl"])


def test_a_prompt_that_is_a_list_is_unwrapped(tmp_path: Path) -> None:
    file = written(tmp_path / "r.jsonl", [{"task": "t", "prompt": "['a\\nb']", "scores": {"m": 1}}])
    assert read_rows([file])[0].prompt == "a\nb"
