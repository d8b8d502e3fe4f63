"""What a chat body asks of a model."""

from __future__ import annotations

from collections.abc import Iterator

from sentinella_plugins.fallback.models import Needs
from sentinella_plugins.kernel.call import Call, Json
from sentinella_plugins.kernel.catalogue import ModelCard

_PARTS = {
    "image_url": "vision",
    "input_image": "vision",
    "image": "vision",
    "input_audio": "audio",
    "file": "pdf",
}


def needs_of(call: Call) -> Needs:
    return Needs(
        capabilities=frozenset(_capabilities(call.body)),
        prompt_tokens=call.estimate.prompt_tokens if call.estimate else 0,
        output_tokens=_wanted(call.body),
    )


def fits(card: ModelCard, needs: Needs) -> bool:
    """Sizes that are unknown fit; capabilities that are unknown do not."""
    window, most = card.context_window, card.max_output_tokens
    return (
        needs.capabilities.issubset(card.capabilities)
        and (window is None or needs.prompt_tokens <= window)
        and (most is None or needs.output_tokens <= most)
    )


def _capabilities(body: Json) -> Iterator[str]:
    if body.get("tools") or body.get("functions"):
        yield "tools"
    wanted = body.get("response_format")
    if isinstance(wanted, dict) and wanted.get("type") == "json_schema":
        yield "json_schema"
    messages = body.get("messages")
    for message in messages if isinstance(messages, list) else ():
        content = message.get("content") if isinstance(message, dict) else None
        for part in content if isinstance(content, list) else ():
            kind = part.get("type") if isinstance(part, dict) else None
            if isinstance(kind, str) and kind in _PARTS:
                yield _PARTS[kind]


def _wanted(body: Json) -> int:
    given = body.get("max_completion_tokens") or body.get("max_tokens")
    return given if isinstance(given, int) and given > 0 else 0
