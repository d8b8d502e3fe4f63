from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import SecretStr

from sentinella_plugins.kernel.errors import SettingsError
from sentinella_plugins.tools.models import SecretUnreadable
from sentinella_plugins.tools.sealing import FILE, Vault


def test_sealed_and_opened(tmp_path: Path) -> None:
    sealed = Vault(None, tmp_path).seal("acme/x", {"headers.a": "s3cret-ü"})
    assert sealed is not None and b"s3cret" not in sealed
    opened = Vault(None, tmp_path).open("acme/x", sealed)
    assert opened["headers.a"].reveal() == "s3cret-ü" and "s3cret" not in repr(opened)
    assert Vault(None, tmp_path).seal("acme/x", {}) is None
    assert Vault(None, tmp_path).open("acme/x", None) == {}


def test_the_key_is_private(tmp_path: Path) -> None:
    Vault(None, tmp_path / "data").seal("acme/x", {"a": "b"})
    assert stat.S_IMODE((tmp_path / "data" / FILE).stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "data").iterdir()] == [FILE]


def test_many_processes_make_one_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        sealed = list(pool.map(lambda _: Vault(None, tmp_path).seal("o", {"a": "b"}), range(8)))
    assert all(Vault(None, tmp_path).open("o", one)["a"].reveal() == "b" for one in sealed)


def test_another_key_another_owner_or_damage(tmp_path: Path) -> None:
    vault = Vault(SecretStr("k1"), tmp_path)
    sealed = vault.seal("acme/x", {"a": "b"})
    assert sealed is not None and not (tmp_path / FILE).exists()
    assert Vault(SecretStr("k1"), tmp_path).open("acme/x", sealed)
    for other, owner, token in (
        (Vault(SecretStr("k2"), tmp_path), "acme/x", sealed),
        (vault, "other/x", sealed),
        (vault, "acme/y", sealed),
        (vault, "acme/x", sealed[:-5]),
        (vault, "acme/x", b""),
    ):
        with pytest.raises(SecretUnreadable):
            other.open(owner, token)


def test_a_key_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    with pytest.raises(SettingsError, match="cannot be read"):
        Vault(None, tmp_path).seal("o", {"a": "b"})
