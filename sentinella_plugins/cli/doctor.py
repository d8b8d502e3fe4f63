"""`sentinella doctor`: the effective settings, and whether everything that they name answers."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import typer
import yaml
from dotenv import load_dotenv
from rich.console import Console
from rich.table import Table

from sentinella_plugins.cli.serve import DEFAULT_CONFIG
from sentinella_plugins.kernel.clock import SystemClock
from sentinella_plugins.kernel.errors import SentinellaError
from sentinella_plugins.settings import Settings, load_for_proxy
from sentinella_plugins.storage import open_storage

_LEAST_DISK = 200_000_000


@dataclass(frozen=True, slots=True)
class Finding:
    """`ok` is `None` for what is worth knowing but neither right nor wrong."""

    check: str
    ok: bool | None
    detail: str


def doctor(as_json: bool, config: Path | None = None) -> None:
    """Exit code 1 when anything is wrong."""
    load_dotenv()
    config = config or DEFAULT_CONFIG
    try:
        settings = load_for_proxy(config, os.environ)
    except SentinellaError as error:
        findings, effective = [Finding("settings", False, error.message)], {}
    else:
        findings = list(_examine(config, settings))
        effective = settings.model_dump(mode="json")
    failed = any(finding.ok is False for finding in findings)
    if as_json:
        checks = [asdict(finding) for finding in findings]
        print(json.dumps({"ok": not failed, "checks": checks, "settings": effective}))
    else:
        _show(findings, effective)
    raise typer.Exit(1 if failed else 0)


def _examine(config: Path, settings: Settings) -> Iterator[Finding]:
    yield Finding("litellm", version("litellm") == "1.106.2", f"{version('litellm')} (tested with 1.106.2)")
    yield _try("proxy configuration", lambda: _models(config))
    yield _try("data directory", lambda: _data_dir(settings.data_dir))
    yield from _stores(settings)
    yield from _keys(config)
    yield _try("port", _port)


def _try(name: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(name, True, look())
    except (OSError, ValueError, KeyError, TypeError, SentinellaError) as error:
        return Finding(name, False, str(error))


def _models(config: Path) -> str:
    content = yaml.safe_load(config.read_text())
    callbacks = (content.get("litellm_settings") or {}).get("callbacks") or []
    if "sentinella_plugins.gateway.handler" not in callbacks:
        raise ValueError("`litellm_settings.callbacks` does not name `sentinella_plugins.gateway.handler`")
    return f"{len(content['model_list'])} models in {config}"


def _data_dir(folder: Path) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    probe = folder / ".doctor"
    probe.write_text("")
    probe.unlink()
    free = shutil.disk_usage(folder).free
    if free < _LEAST_DISK:
        raise ValueError(f"only {free // 1_000_000} MB are free in {folder.resolve()}")
    return f"{folder.resolve()}, {free // 1_000_000_000} GB free"


def _stores(settings: Settings) -> Iterator[Finding]:
    async def look() -> dict[str, str | None]:
        storage = open_storage(settings.storage, settings.data_dir, SystemClock())
        try:
            await storage.open()
            return await storage.healthy()
        finally:
            await storage.close()

    names = {
        "database": "its own URL" if settings.storage.database_url else "SQLite in the data directory",
        "counters": "Redis" if settings.storage.redis_url else "in the SQL database",
    }
    try:
        for part, reason in asyncio.run(look()).items():
            yield Finding(part, reason is None, reason or names[part])
    except SentinellaError as error:
        yield Finding("stores", False, error.message)


def _keys(config: Path) -> Iterator[Finding]:
    names = set()
    for model in yaml.safe_load(config.read_text()).get("model_list") or []:
        key = str((model.get("litellm_params") or {}).get("api_key") or "")
        if key.startswith("os.environ/"):
            names.add(key.removeprefix("os.environ/"))
    for name in sorted(names):
        there = bool(os.environ.get(name))
        yield Finding(name, True if there else None, "set" if there else "not set: the demo upstream answers")


def _port() -> str:
    port = int(os.environ.get("SENTINELLA_PORT", "8000"))
    with socket.socket() as probe:
        taken = probe.connect_ex(("127.0.0.1", port)) == 0
    return f"{port} {'is in use (perhaps by a running gateway)' if taken else 'is free'}"


def _show(findings: list[Finding], effective: dict[str, object]) -> None:
    console = Console()
    if effective:
        console.print(yaml.safe_dump(effective, sort_keys=False).rstrip(), style="dim", highlight=False)
    table = Table("check", "", "detail", box=None)
    for finding in findings:
        mark = "[yellow]-" if finding.ok is None else "[green]ok" if finding.ok else "[red]fails"
        table.add_row(finding.check, mark, finding.detail)
    console.print(table)
