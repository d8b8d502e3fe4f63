"""The first start's keys."""

from __future__ import annotations

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sentinella_plugins.bootstrap import FILE, announce, ensure_keys
from sentinella_plugins.kernel.errors import SettingsError
from sentinella_plugins.kernel.secrets import is_well_formed


def test_the_first_start_makes_strong_keys_that_only_the_owner_can_read(tmp_path: Path) -> None:
    keys = ensure_keys(tmp_path, {}, None)
    assert keys.created
    assert is_well_formed(keys.master_key)
    assert is_well_formed(keys.api_key)
    assert keys.master_key != keys.api_key
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600
    assert keys.api_key not in repr(keys)


def test_later_starts_find_them(tmp_path: Path) -> None:
    first, second = ensure_keys(tmp_path, {}, None), ensure_keys(tmp_path, {}, None)
    assert (second.master_key, second.api_key, second.created) == (first.master_key, first.api_key, False)


def test_the_environments_keys_are_stronger_and_nothing_is_written(tmp_path: Path) -> None:
    keys = ensure_keys(tmp_path, {"LITELLM_MASTER_KEY": "m"}, "k")
    assert (keys.master_key, keys.api_key, keys.created) == ("m", "k", False)
    assert not (tmp_path / FILE).exists()


def test_of_many_that_come_at_once_one_makes_them(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        all_keys = list(pool.map(lambda _: ensure_keys(tmp_path, {}, None), range(64)))
    assert len({keys.master_key for keys in all_keys}) == 1
    assert json.loads((tmp_path / FILE).read_text())["api_key"] == all_keys[0].api_key
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


@pytest.mark.parametrize("content", ["", "{}", "[]", "no json"])
def test_a_spoiled_file_is_not_overwritten(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE).write_text(content)
    with pytest.raises(SettingsError, match="mend it or move it away"):
        ensure_keys(tmp_path, {}, None)
    assert (tmp_path / FILE).read_text() == content


def test_a_start_is_announced_once_and_shows_its_keys_only_if_it_made_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    env = {"SENTINELLA_ANNOUNCE": "http://127.0.0.1:8000", "SENTINELLA_SERVE_ID": "1"}
    keys = ensure_keys(tmp_path, {}, None)
    announce(keys, tmp_path, env)
    announce(keys, tmp_path, env)
    shown = capsys.readouterr().out
    assert shown.count(keys.master_key) == 1
    assert shown.count("curl http://127.0.0.1:8000/v1/chat/completions") == 1
    announce(ensure_keys(tmp_path, {}, None), tmp_path, env | {"SENTINELLA_SERVE_ID": "2"})
    later = capsys.readouterr().out
    assert "curl http://127.0.0.1:8000" in later
    assert keys.master_key not in later
    assert keys.api_key not in later
