"""Which trained model a name of a catalogue means."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

_DROPPED = re.compile(
    r"@.*$|-?\b(?:instruct|inst|chat|it|hf|turbo|preview|latest|meta|online|v0\.\d|fp8|exp)\b"
    r"|-(?:19|20)\d\d-?\d\d-?\d\d|-\d\d-\d\d-\d\d|-\d{4}$|-00\d"
)
_SIZE = re.compile(r"(?:(\d+)x)?(\d+(?:\.\d+)?)b\b")
_ALIASES = {
    "gpt-4-1106-preview": "gpt-4-turbo-2024-04-09",
    "gpt-4-0125-preview": "gpt-4-turbo-2024-04-09",
    "gpt-4-turbo": "gpt-4-turbo-2024-04-09",
    "gpt-4": "gpt-4-0314",
    "mistral-large": "Mistral-Large-2",
    "grok-2": "grok-2-1212",
    "deepseek-v3": "deepseek-v2.5-0908",
}


def plain(name: str) -> str:
    name = name.rsplit("/", 1)[-1].lower().replace("_", ".")
    name = re.sub(r"llama-?(\d)", r"llama-\1", name)
    return re.sub(r"-+", "-", _DROPPED.sub("", name)).strip("-.")


class Names:
    def __init__(self, trained: Sequence[str]) -> None:
        self._plain: Mapping[str, str] = {plain(name): name for name in reversed(trained)}
        self._exact = {name.lower(): name for name in trained}

    def find(self, model: str) -> str | None:
        short = model.rsplit("/", 1)[-1].lower()
        alias = _ALIASES.get(short, short).lower()
        return self._exact.get(alias) or self._plain.get(plain(alias))


def billions(model: str) -> float | None:
    """The size that a name tells."""
    found = _SIZE.search(model.lower())
    if found is None:
        return None
    return float(found[2]) * (float(found[1]) ** 0.75 if found[1] else 1.0)
