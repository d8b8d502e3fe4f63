"""The first start: keys that nobody has chosen yet."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sentinella_plugins.kernel.errors import SettingsError
from sentinella_plugins.kernel.secrets import new_key

FILE = "keys.json"


@dataclass(frozen=True, slots=True)
class Keys:
    """`created` tells that this start made them: they are to be shown once."""

    master_key: str
    api_key: str
    created: bool = False

    def __repr__(self) -> str:
        return "Keys(...)"


def ensure_keys(data_dir: Path, env: Mapping[str, str], api_key: str | None) -> Keys:
    """The environment's keys, else those of `keys.json` (mode 600), made by the first process to come."""
    master = env.get("LITELLM_MASTER_KEY")
    if master and api_key:
        return Keys(master, api_key)
    kept, created = _kept(data_dir)
    return Keys(master or kept["master_key"], api_key or kept["api_key"], created)


def _kept(data_dir: Path) -> tuple[dict[str, str], bool]:
    data_dir.mkdir(parents=True, exist_ok=True)
    path = data_dir / FILE
    created = not path.exists() and _create(path)
    try:
        kept = json.loads(path.read_text())
        return {"master_key": str(kept["master_key"]), "api_key": str(kept["api_key"])}, created
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingsError(f"`{path}` cannot be read ({error}): mend it or move it away") from None


def _create(path: Path) -> bool:
    """Writes a private draft and links it into place, so that of many processes exactly one wins."""
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{FILE}.")  # born with mode 600
    with os.fdopen(descriptor, "w") as file:
        json.dump({"master_key": new_key(), "api_key": new_key()}, file)
    try:
        os.link(draft, path)
    except FileExistsError:
        return False
    finally:
        os.unlink(draft)
    return True


def announce(keys: Keys, data_dir: Path, env: Mapping[str, str]) -> None:
    """Prints, from one worker of each start, where the gateway is and how to call it.

    Keys are shown by the start that made them and by no other.
    """
    url = env.get("SENTINELLA_ANNOUNCE")
    if not (url or keys.created) or not _first(
        data_dir / f".announced.{env.get('SENTINELLA_SERVE_ID', os.getpid())}"
    ):
        return
    url, file = url or "http://127.0.0.1:4000", data_dir / FILE
    lines = ["", f"Sentinella is ready at {url}"]
    key = "$SENTINELLA_API_KEY"
    if keys.created:
        lines += [
            f"  admin key   {keys.master_key}",
            f"  tenant key  {keys.api_key}",
            f"  (kept in {file}, mode 600)",
        ]
        key = keys.api_key
    elif not env.get("SENTINELLA_API_KEY"):
        lines += [f"  admin key and tenant key: in {file}"]
        key = f'$(grep -o \'"api_key": *"[^"]*\' {file} | cut -d\'"\' -f4)'
    question = '[{"role": "user", "content": "What is the capital of France?"}]'
    body = f'{{"model": "gpt-4o-mini", "messages": {question}}}'
    lines += ["", f"curl {url}/v1/chat/completions -H 'Content-Type: application/json' \\"]
    lines += [f'  -H "Authorization: Bearer {key}" \\', f"  -d '{body}'", ""]
    print("\n".join(lines), flush=True)  # a log would keep the keys


def _first(claim: Path) -> bool:
    """Whether this process is the first of its start to come here; claims of earlier starts are cleared."""
    for old in claim.parent.glob(".announced.*"):
        if old != claim:
            old.unlink(missing_ok=True)
    try:
        claim.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True
