"""A question without its courtesies: how somebody greets and thanks says nothing of what is asked."""

from __future__ import annotations

import re

_LONGEST = 2_000
"""Characters; of longer texts greetings are a small part."""

_GREETING = (
    r"hi|hello|hey|greetings|good\ (?:morning|afternoon|evening|day)|dear\ (?:assistant|ai|bot|team|all)"
    r"|question|quick\ question|please|pls|so|ok|okay|well|thanks|tell\ me|help"
    r"|(?:can|could|would)\ you\ (?:please\ )?(?:tell|help)\ me"
)
_BEFORE = re.compile(
    rf"(?:(?:{_GREETING})(?:\ (?:there|all|everyone|everybody|please))?\s*[,.!:?-]+\s+|please\s+)+",
    re.IGNORECASE | re.VERBOSE,
)
_AFTER = re.compile(
    r"""\s*(?:
      (?:(?:many\ )?thanks|thank\ you|thx|ty|cheers|please|pls)
      (?:\ (?:a\ lot|so\ much|very\ much|in\ advance|again))?[.!,]*
    | [:;]-?\) | \.{2,}
    )\s*$""",
    re.IGNORECASE | re.VERBOSE,
)
_TAIL, _MOST = 60, 4
"""Characters of an ending, and endings, that are looked at."""

_ASKS = re.compile(
    r"(?:what|how|why|who|whom|whose|which|where|when|is|are|am|was|were|do|does|did|can|could|will|would"
    r"|should|shall|may|has|have|had|if|in|i|explain|describe|list|give|show|name|compare|define|suggest"
    r"|recommend|find|tell|what's|who's|how's|where's|whats|isn't|aren't|don't|doesn't|can't|i'm|i've)\b",
    re.IGNORECASE,
)
_OF_ITSELF = re.compile(
    r"\b(?:translat|greet|hello|repl|respon|answer|sentence|phrase|word|letter|character|languag|messag|polite"
    r"|formal|tone|text|prompt|repeat|rewrite|rephrase|say|spell|above|written|wrote|i\ (?:ask|sa))",
    re.IGNORECASE | re.VERBOSE,
)
"""Where a text may be about its own words, all of them count."""


def asked_of(text: str) -> str:
    """`text` without what greets before it and thanks after it; the whole text where it is not clear that
    what is left asks the same."""
    if len(text) > _LONGEST:
        return text
    start = found.end() if (found := _BEFORE.match(text)) else 0
    asked = text[start if _ASKS.match(text, start) else 0 : _end(text)]
    return text if not asked or _OF_ITSELF.search(asked) else asked


def _end(text: str) -> int:
    """Where the last sentence that is not thanks ends."""
    end = kept = len(text)
    for _ in range(_MOST):
        found = _AFTER.search(text[max(0, end - _TAIL) : end])
        if found is None:
            break
        end -= len(found.group())
        if text[:end].endswith((".", "?", "!")):
            kept = end
    return kept
