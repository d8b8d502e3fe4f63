"""Settings: YAML, then environment; a mistake is named."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from sentinella_plugins.kernel.errors import SettingsError
from sentinella_plugins.settings import Settings, load, load_for_proxy


def message(**env: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load(env=env)
    return caught.value.message


def test_without_anything_every_default_holds() -> None:
    assert load(env={}) == Settings()


def test_the_environment_is_stronger_than_the_file(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text("gateway: {max_body_bytes: 5000, body_timeout_s: 3}\ntenancy: {on_failure: open}\n")
    settings = load(file, env={"SENTINELLA_GATEWAY__MAX_BODY_BYTES": "6000"})
    assert settings.gateway.max_body_bytes == 6000
    assert settings.gateway.body_timeout_s == 3
    assert settings.tenancy.on_failure == "open"


def test_the_variables_of_a_bare_start() -> None:
    settings = load(
        env={
            "SENTINELLA_DATA_DIR": "/tmp/x",  # noqa: S108
            "SENTINELLA_API_KEY": "sk-secret-1234567",
            "DATABASE_URL": "postgresql://u:secret-pw@h/d",
            "REDIS_URL": "redis://:secret-pw@h",
            "SENTINELLA_PORT": "8000",
        }
    )
    assert settings.data_dir == Path("/tmp/x")  # noqa: S108
    assert settings.api_key is not None
    assert settings.storage.database_url is not None
    assert settings.storage.database_url.get_secret_value().startswith("postgresql://")
    shown = repr(settings) + str(settings.model_dump(mode="json"))
    assert "secret-1234567" not in shown and "secret-pw" not in shown


def test_a_url_in_the_file_is_stronger_than_the_hosts_variable(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text("storage: {database_url: 'sqlite:///own.db'}\n")
    settings = load(file, env={"DATABASE_URL": "postgresql://h/d"})
    assert settings.storage.database_url is not None
    assert settings.storage.database_url.get_secret_value() == "sqlite:///own.db"


def test_a_mistyped_key_names_the_right_one() -> None:
    assert "did you mean `max_body_bytes`?" in message(SENTINELLA_GATEWAY__MAX_BODY_BITES="1000")
    assert "did you mean `tenancy`?" in message(SENTINELLA_TENANCI__LEASE_S="30")


def test_a_wrong_value_names_its_key() -> None:
    assert "`gateway.max_body_bytes`" in message(SENTINELLA_GATEWAY__MAX_BODY_BYTES="lots")


def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    for text in ("- a", "just text", "a: ["):
        file.write_text(text)
        with pytest.raises(SettingsError):
            load(file, env={})
    with pytest.raises(SettingsError):
        load(tmp_path / "absent.yaml", env={})


def test_the_proxys_yaml_names_the_file_or_holds_the_settings(tmp_path: Path) -> None:
    proxy = tmp_path / "proxy_config.yaml"
    (tmp_path / "own.yaml").write_text("gateway: {max_body_bytes: 5000}\n")
    proxy.write_text(yaml.safe_dump({"general_settings": {"sentinella": "own.yaml"}}))
    assert load_for_proxy(proxy, {}).gateway.max_body_bytes == 5000
    proxy.write_text(
        yaml.safe_dump({"general_settings": {"sentinella": {"gateway": {"max_body_bytes": 6000}}}})
    )
    assert load_for_proxy(proxy, {}).gateway.max_body_bytes == 6000
    (tmp_path / "other.yaml").write_text("gateway: {max_body_bytes: 7000}\n")
    named = {"SENTINELLA_CONFIG": str(tmp_path / "other.yaml")}
    assert load_for_proxy(proxy, named).gateway.max_body_bytes == 7000
    proxy.write_text("{}")
    assert load_for_proxy(proxy, {}) == Settings()
