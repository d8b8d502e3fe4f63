"""Secrets that a tool's answer repeats are taken out of it."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

from sentinella_plugins.tools.models import Secrets

MASK = "[secret]"
_SHORTEST_PART = 6


def masked(text: str, secrets: Secrets) -> str:
    """The text without any secret, also where it is written as in JSON, URLs, HTML or base64."""
    found = {form for secret in secrets.values() for form in _forms(secret.reveal())}
    if not any(form in text for form in found):
        return text
    return re.sub("|".join(re.escape(form) for form in sorted(found, key=len, reverse=True)), MASK, text)


def _forms(secret: str) -> Iterable[str]:
    """`Bearer abc` is also `abc`; the word before it is no secret."""
    parts = secret.split()
    values = {secret, *(part for part in parts[1:] if len(part) >= _SHORTEST_PART)}
    for value in values:
        yield from (value, quote(value, safe=""), quote(value), quote_plus(value), html.escape(value))
        yield from (json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1])
        raw = value.encode()
        yield from (base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode().rstrip("="))
        yield raw.hex()
