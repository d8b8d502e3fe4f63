"""Two texts read together."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinella_plugins.vectors.hashing import HashingModel
from sentinella_plugins.vectors.memo import Memo
from sentinella_plugins.vectors.minilm import DamagedModel, MiniLM
from sentinella_plugins.vectors.pairs import DATA, PairReader

SAME = ("How do I stop overthinking at night?", "What can I do to stop overthinking in the night?")
OTHER = ("How do I stop overthinking at night?", "How did you stop overthinking at night?")


@pytest.fixture(scope="module")
def encoder() -> MiniLM:
    return MiniLM()


@pytest.fixture(scope="module")
def reader() -> PairReader:
    return PairReader()


def odds(encoder: MiniLM, reader: PairReader, texts: tuple[str, str]) -> float:
    found = reader.read(*encoder.encode(texts))
    assert found is not None
    return found


def test_it_tells_apart_what_is_near(encoder: MiniLM, reader: PairReader) -> None:
    for one, other in map(encoder.encode, (SAME, OTHER)):
        assert one.vector @ other.vector > 0.85
    assert odds(encoder, reader, SAME) > 2
    assert odds(encoder, reader, OTHER) < -2


@settings(max_examples=30, deadline=None)
@given(st.text(max_size=60), st.text(max_size=60))
def test_the_order_of_the_texts_does_not_matter(
    encoder: MiniLM, reader: PairReader, one: str, other: str
) -> None:
    forth, back = odds(encoder, reader, (one, other)), odds(encoder, reader, (other, one))
    assert forth == back
    assert np.isfinite(forth)


def test_a_long_text_is_not_read_in_part(encoder: MiniLM, reader: PairReader) -> None:
    """What differs may come after what would be read."""
    text = "How do I bake bread? " + "It should have a crust. " * 15
    one, other, short = encoder.encode([text + "Use salt.", text + "Use no salt.", "How do I bake bread?"])
    assert len(one.late) > 64
    assert reader.read(one, other) is None
    assert reader.read(one, short) is None


def test_encodings_of_another_encoder_are_not_read(reader: PairReader) -> None:
    one, other = HashingModel(384).encode(["one", "other"])
    assert reader.read(one, other) is None


def test_what_the_memo_held_is_read_alike(encoder: MiniLM, reader: PairReader) -> None:
    memo = Memo(1_000_000)
    texts = list(SAME)
    before = odds(encoder, reader, SAME)
    for encoding in encoder.encode(texts):
        memo.put(encoding)
    held = [memo.get(text) for text in texts]
    assert held[0] is not None and held[1] is not None
    assert reader.read(held[0], held[1]) == pytest.approx(before, abs=1e-3)


def test_a_changed_reader_is_refused(tmp_path: Path) -> None:
    shutil.copytree(DATA, tmp_path / "pairs")
    with (tmp_path / "pairs" / "model.onnx").open("ab") as file:
        file.write(b" ")
    with pytest.raises(DamagedModel, match="Install Sentinella again"):
        PairReader(tmp_path / "pairs")
