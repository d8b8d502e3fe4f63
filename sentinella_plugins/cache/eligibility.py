"""What is never shared, and why. Each reason is shown in `sentinella.cache.reason`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

from sentinella_plugins.cache.config import CacheConfig
from sentinella_plugins.cache.models import Eligible, Keys, Mode, Wish
from sentinella_plugins.cache.questions import depends_on_time, is_personal
from sentinella_plugins.kernel.call import Call, Json, Outcome
from sentinella_plugins.kernel.errors import BadRequest

ROUTES = frozenset(["/v1/chat/completions"])
BYPASSES = (
    "mode",
    "disabled",
    "route",
    "session",
    "tools",
    "choices",
    "logprobs",
    "temperature",
    "modality",
    "personal",
    "time",
)
"""Why a call is passed by: neither read nor kept."""

EXACT_ONLY = ("semantic_off", "no_question", "attachment", "seed", "personal", "too_long")
"""Why only the very same request may be answered."""

NOT_KEPT = ("status", "no_body", "fallback", "finish_reason", "tools", "refusal", "empty", "too_large")
"""Why an answer is not kept."""

MOST_TAGS, LONGEST_TAG = 10, 64
_TOOLS = ("tools", "functions", "web_search_options")
_REFUSAL = re.compile(
    r"^\W*(?:i[' \u2019]?a?m\s+(?:really\s+|very\s+)?(?:sorry|afraid)|sorry\b|i\s+apologi[sz]e|as\s+an\s+ai\b"
    r"|(?:unfortunately,?\s+)?i\s+(?:can(?:no|['\u2019])?t|am\s+(?:unable|not\s+able)|must\s+decline|won['\u2019]t)"
    r"|es\s+tut\s+mir\s+leid|je\s+suis\s+désolé|lo\s+siento|mi\s+dispiace|desculpe)",
    re.IGNORECASE,
)
_MAX_AGE = re.compile(r"max-age\s*=\s*(\d{1,9})")


def wish_of(call: Call) -> Wish:
    """The body's `cache` first, then `Cache-Control`. `BadRequest` for malformed tags."""
    asked = call.options.cache
    control = call.headers.get("cache-control", "").lower()
    age = _MAX_AGE.search(control)
    return Wish(
        mode=cast("Mode | None", asked.get("mode")) or _mode(control),
        threshold=cast("float | None", asked.get("threshold")),
        ttl_s=cast("float | None", asked.get("ttl_s")),
        max_age_s=float(age[1]) if age else None,
        tags=_tags(call.body.get("metadata")),
    )


def eligible(call: Call, wish: Wish, config: CacheConfig) -> Eligible:
    """What the request alone decides; `narrowed` looks at its question."""
    return Eligible(next(_bypasses(call, wish, config), None))


def narrowed(call: Call, keys: Keys, config: CacheConfig, now: float) -> Eligible:
    """What the question decides. Texts of several parts are read too."""
    asked = keys.question or "\n".join(_texts(_last(call.body)))
    if depends_on_time(asked, now):
        return Eligible("time")
    if is_personal(asked):
        return Eligible("personal") if config.personal == "bypass" else Eligible(None, "personal")
    return Eligible(None, next(_narrowings(call, keys, config), None))


def unkeepable(call: Call, outcome: Outcome, config: CacheConfig) -> str | None:
    """Why an answer must not be given again. Its size is looked at where it is written."""
    if outcome.status != "success":
        return "status"
    if outcome.body is None:
        return "no_body"
    if any(attempt.model != outcome.model and attempt.status == "error" for attempt in outcome.attempts):
        return "fallback"
    return unkeepable_body(outcome.body)


def unkeepable_body(body: Json) -> str | None:
    choices = body.get("choices")
    if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], Mapping):
        return "no_body"
    message: Mapping[str, Any] = choices[0].get("message") or {}
    ended = choices[0].get("finish_reason")
    if ended in ("tool_calls", "function_call") or message.get("tool_calls") or message.get("function_call"):
        return "tools"
    if ended != "stop":
        return "finish_reason"
    content = message.get("content")
    if message.get("refusal") or (isinstance(content, str) and _REFUSAL.match(content)):
        return "refusal"
    return None if isinstance(content, str) and content.strip() else "empty"


def _bypasses(call: Call, wish: Wish, config: CacheConfig) -> Iterator[str]:
    body, options = call.body, call.options
    if call.route not in ROUTES:
        yield "route"
    if not config.enabled:
        yield "disabled"
    if wish.mode == "bypass":
        yield "mode"
    if options.session_id is not None and config.sessions == "off":
        yield "session"
    if options.tool_execution != "client" or any(body.get(name) for name in _TOOLS) or _used_tools(body):
        yield "tools"
    if body.get("n") not in (None, 1):
        yield "choices"
    if body.get("logprobs"):
        yield "logprobs"
    temperature = body.get("temperature")
    if isinstance(temperature, int | float) and temperature > config.max_temperature:
        yield "temperature"
    if body.get("audio") or body.get("modalities") not in (None, ["text"]):
        yield "modality"


def _narrowings(call: Call, keys: Keys, config: CacheConfig) -> Iterator[str]:
    if not config.semantic:
        yield "semantic_off"
    if _has_attachment(call.body):
        yield "attachment"
    if not keys.question:
        yield "no_question"
    if call.body.get("seed") is not None:
        yield "seed"
    if len(keys.question) > config.max_question_chars:
        yield "too_long"


def _mode(control: str) -> Mode:
    directives = {part.strip() for part in control.split(",")}
    if "no-store" in directives:
        return "bypass"
    if "only-if-cached" in directives:
        return "only"
    return "refresh" if "no-cache" in directives else "default"


def _tags(metadata: object) -> tuple[str, ...]:
    """Of `metadata.cache_tags`, a text with commas."""
    given = metadata.get("cache_tags") if isinstance(metadata, Mapping) else None
    if given is None:
        return ()
    tags = tuple(sorted({tag.strip() for tag in given.split(",")} - {""})) if isinstance(given, str) else ()
    if not tags or len(tags) > MOST_TAGS or any(len(tag) > LONGEST_TAG or "\n" in tag for tag in tags):
        raise BadRequest(
            f"`metadata.cache_tags` must be 1 to {MOST_TAGS} tags of at most {LONGEST_TAG} characters, with "
            "commas between them.",
            param="metadata.cache_tags",
        )
    return tags


def _messages(body: Json) -> Sequence[Mapping[str, Any]]:
    return cast("Sequence[Mapping[str, Any]]", body.get("messages") or ())


def _used_tools(body: Json) -> bool:
    return any(
        message.get("role") in ("tool", "function") or message.get("tool_calls")
        for message in _messages(body)
    )


def _has_attachment(body: Json) -> bool:
    parts = (message.get("content") for message in _messages(body))
    return any(
        isinstance(part, Mapping) and part.get("type") != "text"
        for content in parts
        if isinstance(content, list)
        for part in content
    )


def _last(body: Json) -> object:
    messages = _messages(body)
    return messages[-1].get("content") if messages else None


def _texts(content: object) -> Iterable[str]:
    parts = content if isinstance(content, list) else [content]
    for part in parts:
        text = part.get("text") if isinstance(part, Mapping) else part
        if isinstance(text, str):
            yield text
