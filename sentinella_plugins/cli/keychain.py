"""Where the command finds the gateway and its keys."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Literal

Whose = Literal["admin", "member"]
_PLACES: dict[Whose, tuple[str, str]] = {
    "admin": ("LITELLM_MASTER_KEY", "master_key"),
    "member": ("SENTINELLA_API_KEY", "api_key"),
}


def base_url(given: str | None) -> str:
    port = os.environ.get("SENTINELLA_PORT") or "8000"
    return (given or os.environ.get("SENTINELLA_URL") or f"http://127.0.0.1:{port}").rstrip("/")


def find_key(given: str | None, whose: Whose) -> str | None:
    """The key given, else the environment's, else the data directory's; without a member's, the admin's."""
    if given:
        return given
    variable, entry = _PLACES[whose]
    found = os.environ.get(variable) or _kept().get(entry)
    return found if found or whose == "admin" else find_key(None, "admin")


def _kept() -> dict[str, str]:
    folder = Path(os.environ.get("SENTINELLA_DATA_DIR") or ".sentinella")
    try:
        content = json.loads((folder / "keys.json").read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
