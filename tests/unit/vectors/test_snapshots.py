from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sentinella_plugins.vectors import snapshots
from sentinella_plugins.vectors.snapshots import BadSnapshot

ITEMS = [
    (("acme", "s"), "ce_1", np.array([1, 0], np.float32)),
    (("globex", "ü\n"), "ce_2", np.array([0.6, 0.8], np.float32)),
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    snapshots.save(tmp_path / "deep" / "index.bin", "minilm", "17", ITEMS, 2)
    return tmp_path / "deep" / "index.bin"


def test_what_is_saved_is_loaded(file: Path) -> None:
    found = snapshots.load(file, "minilm")
    assert found.position == "17"
    assert found.items == tuple((partition, entry) for partition, entry, _ in ITEMS)
    np.testing.assert_allclose(found.vectors, [[1, 0], [0.6, 0.8]], atol=1e-3)
    assert list(file.parent.iterdir()) == [file]


def test_an_empty_index_too(tmp_path: Path) -> None:
    snapshots.save(tmp_path / "empty", "minilm", "0", [], 384)
    assert snapshots.load(tmp_path / "empty", "minilm").items == ()


def test_a_missing_one_and_that_of_another_encoder(file: Path) -> None:
    for path, encoder in ((file.with_name("nothing"), "minilm"), (file, "other"), (file.parent, "minilm")):
        with pytest.raises(BadSnapshot):
            snapshots.load(path, encoder)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_damage_is_seen_wherever_it_is(file: Path, data: st.DataObject) -> None:
    whole = file.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        broken = whole[:at]
    else:
        broken = whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :]
    damaged = file.with_name("damaged")
    damaged.write_bytes(broken)
    with pytest.raises(BadSnapshot):
        snapshots.load(damaged, "minilm")


def test_a_failed_save_leaves_the_old_one(file: Path) -> None:
    def fails():  # type: ignore[no-untyped-def]
        yield ITEMS[0]
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="gone"):
        snapshots.save(file, "minilm", "18", fails(), 2)
    assert snapshots.load(file, "minilm").position == "17"
    assert list(file.parent.iterdir()) == [file]
