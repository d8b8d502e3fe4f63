"""The decision whether one answer serves two questions."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinella_plugins.cache.evaluation import BadPairs, at, evaluate, read_pairs, sweep
from sentinella_plugins.cache.lexicon import DATA
from sentinella_plugins.cache.verifier import DamagedVerifier, Judgement, Verifier
from sentinella_plugins.cli.cache_evaluate import evaluate_command
from sentinella_plugins.vectors.minilm import MiniLM

DIFFERENT = [
    ("How is Messi better than Ronaldo?", "How is Ronaldo better than Messi?"),
    ("What is the population of Chennai?", "What is the population of Kolkata?"),
    ("Is Python 2 still supported?", "Is Python 3 still supported?"),
    ("Is it safe to eat raw eggs?", "Is it not safe to eat raw eggs?"),
    ("He is not fat.", "He is not thin."),
    ("How do I convert celsius to fahrenheit?", "How do I convert fahrenheit to celsius?"),
    ("Who painted the Mona Lisa?", "How do I bake bread?"),
]
SAME = [
    ("How do I reset my password?", "How can I reset my password?"),
    ("What is the capital of France?", "What's the capital of France?"),
    ("How do I convert PDF into Word?", "How can I convert a PDF to Word?"),
]


@pytest.fixture(scope="module")
def encoder() -> MiniLM:
    return MiniLM()


@pytest.fixture(scope="module")
def verifier() -> Verifier:
    return Verifier()


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_another_question_is_not_served(encoder: MiniLM, verifier: Verifier, one: str, other: str) -> None:
    assert verifier.judge(*encoder.encode([one, other])).score < verifier.serve


@pytest.mark.parametrize(("one", "other"), SAME)
def test_another_wording_is_served(encoder: MiniLM, verifier: Verifier, one: str, other: str) -> None:
    assert verifier.judge(*encoder.encode([one, other])).score >= verifier.serve


def test_long_texts_serve_only_themselves(encoder: MiniLM, verifier: Verifier) -> None:
    text = "Summarise this report. " + "Sales rose again. " * 200
    one, other = encoder.encode([text, text.replace("rose", "climbed")])
    assert verifier.judge(one, other) == Judgement(0.0, "length")
    assert verifier.judge(one, one) == Judgement(1.0)


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=40), st.text(max_size=40))
def test_it_is_symmetric_and_never_raises(encoder: MiniLM, verifier: Verifier, one: str, other: str) -> None:
    a, b = encoder.encode([one, other])
    forth, back = verifier.judge(a, b), verifier.judge(b, a)
    assert forth.guard == back.guard
    assert forth.score == pytest.approx(back.score, abs=1e-6)
    assert 0 <= forth.score <= 1
    assert verifier.judge(a, a) == Judgement(1.0)


@pytest.mark.parametrize(
    ("one", "other", "read"),
    [
        ("How do I reset my password?", "How can I reset my password?", True),
        ("How do I learn to cook at home?", "What should I cook at home for my guests?", False),
    ],
)
def test_only_what_may_be_served_is_read(
    encoder: MiniLM, verifier: Verifier, one: str, other: str, read: bool
) -> None:
    pair = encoder.encode([one, other])
    unread = [replace(encoding, late=encoding.late[:0]) for encoding in pair]
    assert (verifier.judge(*pair) != verifier.judge(*unread)) is read
    assert (verifier.judge(*pair).score >= verifier.serve) is read


@pytest.mark.parametrize("name", ["verifier.npz", "words.json"])
def test_changed_files_are_refused(tmp_path: Path, name: str) -> None:
    shutil.copytree(DATA, tmp_path / "data")
    (tmp_path / "data" / name).write_bytes(b"other")
    with pytest.raises(DamagedVerifier, match="Install Sentinella again"):
        Verifier(tmp_path / "data")


def test_missing_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(DamagedVerifier, match="cannot be read"):
        Verifier(tmp_path)


def test_sweep_serves_equal_scores_together() -> None:
    scores, same = np.array([0.9, 0.8, 0.8, 0.7, 0.0]), np.array([True, True, False, True, True])
    assert sweep(scores, same, (1.0, 0.75, 0.5)) == {"1.00": 0.25, "0.75": 0.75, "0.50": 0.75}
    assert at(scores, same, 0.8) == {"precision": 0.6667, "recall": 0.5, "negatives_served": 1.0}


@pytest.fixture
def pairs(tmp_path: Path) -> Iterator[list[Path]]:
    rows = [{"a": a, "b": b, "same": 0, "source": "hard"} for a, b in DIFFERENT]
    rows += [{"a": a, "b": b, "same": 1, "source": "easy"} for a, b in SAME]
    (tmp_path / "plain.jsonl").write_text("\n".join(map(json.dumps, rows[:5])) + "\n\n")
    with gzip.open(tmp_path / "packed.jsonl.gz", "wt") as file:
        file.write("\n".join(map(json.dumps, rows[5:])))
    yield [tmp_path / "plain.jsonl", tmp_path / "packed.jsonl.gz"]


def test_evaluation_reports_by_source(encoder: MiniLM, verifier: Verifier, pairs: list[Path]) -> None:
    found = evaluate(pairs, encoder, verifier, threshold=0.85, confidence=verifier.serve)
    assert found["sources"] == {
        "easy": {
            "pairs": 3, "precision": 1.0, "recall": 1.0, "negatives_served": None,
            "recall_at_precision": {"0.90": 1.0, "0.93": 1.0, "0.95": 1.0},
        },
        "hard": {
            "pairs": 7, "precision": None, "recall": None, "negatives_served": 0.0,
            "recall_at_precision": {"0.90": None, "0.93": None, "0.95": None},
        },
    }  # fmt: skip


def test_the_command_prints_json_and_a_table(pairs: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    evaluate_command(pairs, as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"sources", "latency_ms"}
    assert set(found["latency_ms"]) == {"p50", "p99"}
    evaluate_command(pairs[:1])
    assert "hard" in capsys.readouterr().out


@pytest.mark.parametrize("line", ["{", '{"a": "x", "b": 1, "same": 0}', '{"a": "x", "b": "y", "same": 2}'])
def test_a_bad_line_is_told(tmp_path: Path, line: str) -> None:
    (tmp_path / "bad.jsonl").write_text(line)
    with pytest.raises(BadPairs, match=r"bad\.jsonl"):
        read_pairs([tmp_path / "bad.jsonl"])
