"""What changed between two versions."""

from __future__ import annotations

import difflib
from typing import Any

from sentinella_plugins.templates.files import dump
from sentinella_plugins.templates.models import Content

_MOST_LINES = 2_000  # the search for common lines takes quadratic time in the worst case


def unified(name: str, before: tuple[int, Content], after: tuple[int, Content]) -> str:
    """In the form of `diff -u`, over the versions as YAML; empty when they are equal. Takes milliseconds."""
    old, new = dump(before[1]).splitlines(), dump(after[1]).splitlines()
    was, is_now = (f"{name} version {number}" for number, _ in (before, after))
    if max(len(old), len(new)) > _MOST_LINES and old != new:
        whole = [f"--- {was}", f"+++ {is_now}", f"@@ -1,{len(old)} +1,{len(new)} @@"]
        return "\n".join([*whole, *(f"-{line}" for line in old), *(f"+{line}" for line in new)])
    return "\n".join(difflib.unified_diff(old, new, was, is_now, lineterm=""))


def changes(before: Content, after: Content) -> list[dict[str, Any]]:
    """The fields that differ, with both values."""
    old, new = before.model_dump(mode="json"), after.model_dump(mode="json")
    return [
        {"field": name, "from": old[name], "to": new[name]}
        for name in Content.model_fields
        if old[name] != new[name]
    ]
