"""The default encoder."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from tokenizers import Tokenizer

from sentinella_plugins.vectors.minilm import DATA, MODEL, TOKENIZER, DamagedModel, MiniLM


@pytest.fixture(scope="module")
def encoder() -> MiniLM:
    return MiniLM()


def test_vectors_have_unit_length(encoder: MiniLM) -> None:
    [found] = encoder.encode(["How do I reset my password?"])
    assert found.pieces[:3] == ("how", "do", "i")
    assert found.vector.shape == (encoder.dimensions,)
    assert found.tokens.shape == (len(found.pieces), encoder.dimensions)
    assert found.vector.dtype == found.tokens.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found.tokens, axis=1), 1, atol=1e-4)
    assert np.linalg.norm(found.vector) == pytest.approx(1, abs=1e-4)


def test_the_name_tells_the_vectors_and_not_the_file(encoder: MiniLM) -> None:
    """Kept vectors are compared with new ones for as long as the name is this."""
    assert encoder.name == "all-MiniLM-L6-v2-int8@b8c569c3"
    [found] = encoder.encode(["What is the capital of France?"])
    assert found.vector[:4] == pytest.approx([0.0933, 0.0338, -0.0061, 0.0036], abs=0.01)


def test_near_questions_are_nearer(encoder: MiniLM) -> None:
    asked, near, far = encoder.encode(
        ["How do I reset my password?", "how can I change my password", "Who painted the Mona Lisa?"]
    )
    assert asked.vector @ near.vector > 0.8 > 0.3 > asked.vector @ far.vector


def test_a_text_has_one_vector_whoever_its_neighbours_are(encoder: MiniLM) -> None:
    texts = ["short", "a somewhat longer question about rivers in Asia?", "x " * 300]
    with ThreadPoolExecutor(4) as pool:
        rounds = list(pool.map(encoder.encode, [texts, texts[::-1], texts[:1], texts[1:2]]))
    for one, other in (
        (rounds[0][0], rounds[1][2]),
        (rounds[0][0], rounds[2][0]),
        (rounds[0][1], rounds[3][0]),
    ):
        np.testing.assert_array_equal(one.vector, other.vector)


@pytest.mark.parametrize(
    "text", ["", " ", "\ud800", "\x00", "日本語の質問", "👩‍👩‍👧‍👦", "e\u0301", "a" * 5_000]
)
def test_any_text_is_encoded(encoder: MiniLM, text: str) -> None:
    [found] = encoder.encode([text])
    assert found.text == text
    assert np.isfinite(found.vector).all()
    assert len(found.pieces) == len(found.tokens)


def test_of_a_long_text_the_beginning_and_the_end_are_read(encoder: MiniLM) -> None:
    middle = "word " * 100_000
    one, other, third = encoder.encode([f"{middle}Paris", f"{middle}cabbage", f"cabbage {middle}Paris"])
    assert len(one.pieces) <= encoder.max_tokens
    assert one.pieces[-1] == "paris"
    assert not np.array_equal(one.vector, other.vector)
    assert third.pieces[0] == "cabbage"


def test_the_words_lie_where_the_card_says(encoder: MiniLM) -> None:
    """What is mapped is what the model itself has at that name: reading the whole of it gives the same."""
    whole = onnxruntime.InferenceSession(str(DATA / MODEL), providers=["CPUExecutionProvider"])
    tokenizer = Tokenizer.from_file(str(DATA / TOKENIZER))
    ids = [tokenizer.encode("Which rivers of Asia are longest, and why?").ids]
    [found] = encoder.encode(["Which rivers of Asia are longest, and why?"])
    np.testing.assert_array_equal(whole.run(["vector"], {"input_ids": np.array(ids)})[0][0], found.vector)


def test_a_changed_model_is_refused(tmp_path: Path) -> None:
    shutil.copytree(DATA, tmp_path / "model")
    with (tmp_path / "model" / "tokenizer.json").open("a") as file:
        file.write(" ")
    with pytest.raises(DamagedModel, match="not the file"):
        MiniLM(tmp_path / "model")


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "card.json").write_text(json.dumps({"sha256": {"model.onnx": ""}}))
    with pytest.raises(DamagedModel, match="cannot be read"):
        MiniLM(tmp_path)
