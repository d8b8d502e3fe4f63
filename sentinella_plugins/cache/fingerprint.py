"""When two requests are the same, and when all but their last question is."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, cast
from unicodedata import is_normalized, normalize

import orjson

from sentinella_plugins.cache.courtesy import asked_of
from sentinella_plugins.cache.models import Keys
from sentinella_plugins.kernel.call import Call

VERSION = 1
"""Part of every key: raise it when what is written below changes, and old entries are found no more."""

LARGE_CHARS = 300_000
"""From here on a request is better hashed off the event loop."""

_IRRELEVANT = frozenset(
    [
        "messages",
        "metadata",
        "prompt_cache_key",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "store",
        "stream",
        "stream_options",
        "user",
    ]
)
_WITHOUT_EFFECT: Mapping[str, object] = {"n": 1, "logprobs": False, "tools": [], "functions": [], "stop": []}
_OPTIONS = orjson.OPT_SORT_KEYS


def keys_of(call: Call, *, person: str = "") -> Keys:
    """`person` is whose answer it is, where that matters."""
    *before, last = _messages(call.body) or [{}]
    asks = last.get("role") == "user"
    context = [VERSION, _asker(call, person), _parameters(call.body), before if asks else [*before, last]]
    digest = hashlib.sha256(orjson.dumps(context, default=_plain, option=_OPTIONS))
    scope = digest.hexdigest()
    digest.update(orjson.dumps(last if asks else None, default=_plain, option=_OPTIONS))
    content = last.get("content")
    return Keys(digest.hexdigest(), scope, asked_of(content) if asks and isinstance(content, str) else "")


def chars_of(call: Call) -> int:
    """Roughly how long the messages are."""
    return sum(
        len(content) if isinstance(content := message.get("content"), str) else 500 * len(content or ())
        for message in _given(call.body)
    )


def _asker(call: Call, person: str) -> list[object]:
    principal, options = call.principal, call.options
    return [
        principal.tenant,
        None if principal.models is None else sorted(principal.models),
        call.requested or call.model,
        {name: value for name, value in options.routing.items() if value is not None},
        options.session_id,
        person,
    ]


def _parameters(body: Mapping[str, object]) -> dict[str, object]:
    return {
        name: _number(value)
        for name, value in body.items()
        if name not in _IRRELEVANT and value is not None and value != _WITHOUT_EFFECT.get(name, _Never)
    }


class _Never:
    """Equal to nothing that is in a body."""


def _number(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _messages(body: Mapping[str, object]) -> list[dict[str, object]]:
    return [_message(message) for message in _given(body)]


def _given(body: Mapping[str, object]) -> Sequence[Mapping[str, Any]]:
    return cast("Sequence[Mapping[str, Any]]", body.get("messages") or ())


def _message(message: Mapping[str, Any]) -> dict[str, object]:
    kept = {name: value for name, value in message.items() if value is not None}
    if "content" in kept:
        kept["content"] = _content(kept["content"])
    return kept


def _content(content: object) -> object:
    """A lone text part is the same as its text."""
    if isinstance(content, str):
        return _text(content)
    parts = [_part(part) for part in content] if isinstance(content, list) else content
    if isinstance(parts, list) and len(parts) == 1 and isinstance(parts[0], str):
        return parts[0]
    return parts


def _part(part: object) -> object:
    if isinstance(part, Mapping) and part.get("type") == "text" and isinstance(part.get("text"), str):
        return _text(part["text"])
    return part


def _text(text: str) -> str:
    if not text.isascii() and not is_normalized("NFC", text):
        text = normalize("NFC", text)
    return text.strip()


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError
