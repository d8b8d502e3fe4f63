"""From what a tool answered to what a model is told."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import orjson

from sentinella_plugins.tools.models import ToolFailed

_TEXTUAL = ("text/", "application/json", "application/xml", "application/x-www-form-urlencoded")
_SHOWN = 300
_OPTIONS = orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY


def readable(content: bytes, content_type: str) -> str:
    """The text of a body. Raises `ToolFailed` for what is none."""
    kind = content_type.partition(";")[0].strip().lower()
    textual = not kind or kind.startswith(_TEXTUAL) or kind.endswith(("+json", "+xml"))
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        if not textual or b"\0" in content:
            raise _binary(content, kind) from None
        text = content.decode(_charset(content_type), errors="replace")
    if "\0" in text:
        raise _binary(content, kind)
    if "json" in kind and text.strip():
        parsed(text)
    return text


def parsed(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        raise ToolFailed(
            "invalid_json", f"The tool answered with malformed JSON, beginning with: {text[:_SHOWN]}"
        ) from None


def extracted(text: str, wanted: str | Mapping[str, str]) -> str:
    """What JSON pointers lead to: one value, or an object of several."""
    value = parsed(text)
    if isinstance(wanted, str):
        return rendered(_at(value, wanted))
    return rendered({name: _at(value, pointer) for name, pointer in wanted.items()})


def rendered(value: object) -> str:
    """Text as it is, everything else as JSON."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    try:
        return orjson.dumps(value, default=str, option=_OPTIONS).decode()
    except orjson.JSONEncodeError:
        return _patiently(value)


def _patiently(value: object) -> str:
    """What the quick way does not take: halves of characters, numbers beyond 64 bits."""
    try:
        return json.dumps(value, default=str)
    except (TypeError, ValueError, RecursionError):
        raise ToolFailed("unreadable_result", "The tool's result cannot be written as JSON.") from None


def shortened(text: str, limit: int) -> str:
    """At most `limit` bytes, the note included."""
    raw = text.encode("utf-8", "replace")
    if len(raw) <= limit:
        return raw.decode()
    note = f"\n[cut off: {len(raw)} bytes in all]"
    return raw[: limit - len(note)].decode("utf-8", "ignore") + note


def failure(message: str) -> str:
    return orjson.dumps({"error": message.encode("utf-8", "replace").decode()}).decode()


def _at(value: Any, pointer: str) -> Any:
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict) and name in value:
            value = value[name]
        elif isinstance(value, list) and name.isascii() and name.isdecimal() and int(name) < len(value):
            value = value[int(name)]
        else:
            raise ToolFailed("nothing_extracted", f"The tool's answer has nothing at `{pointer}`.")
    return value


def _charset(content_type: str) -> str:
    name = content_type.lower().partition("charset=")[2].partition(";")[0].strip(" \"'")
    return name if name in ("iso-8859-1", "latin-1", "windows-1252", "us-ascii") else "utf-8"


def _binary(content: bytes, kind: str) -> ToolFailed:
    return ToolFailed(
        "binary_result",
        f"The tool answered with {len(content)} bytes of `{kind or 'unknown type'}`, no text.",
    )
