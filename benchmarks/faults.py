"""The sixteen faults of an upstream: how each is made, and what a good gateway makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

WORDS = [f"word{number} " for number in range(1, 61)]
SAID = 40
"""Words that were sent when a stream breaks."""

PRIMARY = {"openai": "gpt-4o-mini", "anthropic": "claude-haiku-5-5"}
BACKUP = {"openai": ("anthropic", "claude-haiku-5-5"), "anthropic": ("openai", "gpt-4.1-mini")}
PREFILLED = ("mistral", "mistral-small-latest")
LONGER = ("gemini", "gemini-2.5-flash")

Kind = Literal["answer", "filter", "flap", "cost"]


@dataclass(frozen=True, slots=True)
class Case:
    """`fault` and `times` are those of the demo upstream; `whole` whether it can befall a whole answer."""

    name: str
    fault: Mapping[str, Any]
    times: int | None = None
    whole: bool = True
    kind: Kind = "answer"
    rejects_prefill: bool = False

    @property
    def broken_after(self) -> int:
        return (
            SAID if any(name in self.fault for name in ("cut_after", "stall_after", "malformed_after")) else 0
        )


CASES = (
    Case("429 with Retry-After", {"status": 429, "retry_after": 1}, times=1),
    Case("persistent 429", {"status": 429}),
    Case("one 500", {"status": 500}, times=1),
    Case("503", {"status": 503}),
    Case("TCP reset", {"reset": True}),
    Case("silence for 120 s", {"silent_s": 120}),
    Case("first token after 20 s", {"first_token_delay_s": 20}),
    Case("cut after 40 of 60 tokens", {"cut_after": SAID}),
    Case("stall of 30 s in the middle", {"stall_after": SAID, "stall_s": 30}),
    Case("malformed chunk", {"malformed_after": SAID}),
    Case("no `[DONE]`", {"no_done": True}, whole=False),
    Case("context_length_exceeded", {"status": 400, "code": "context_length_exceeded"}),
    Case("content filter", {"status": 400, "code": "content_policy_violation"}, kind="filter"),
    Case("cut, fallback rejects prefill", {"cut_after": SAID}, whole=False, rejects_prefill=True),
    Case("flapping primary", {"status": 500}, kind="flap"),
    Case("cost after a failover", {"status": 503}, kind="cost"),
)


def rules(case: Case, primary: str, *, stream: bool) -> list[dict[str, Any]]:
    """For the demo upstream. Whoever goes on says the rest, anybody else the whole."""
    match = {"stream": stream}
    rest = {"chunks": WORDS[case.broken_after :]}
    usage = {"usage": {"prompt": 1_000, "completion": 500}} if case.kind == "cost" else {}
    found: list[dict[str, Any]] = []
    if case.rejects_prefill:
        rejection = {"status": 400, "message": "The conversation must end with a user message."}
        found.append({"match": {**match, "prefill": True}, "fault": rejection})
    if case.broken_after:
        found.append({"match": {**match, "prefill": True}, "reply": rest})
        found.append({"match": {**match, "contains": "cut off by a technical fault"}, "reply": rest})
    broken = {"match": {**match, "model": PRIMARY[primary]}, "reply": {"chunks": WORDS}, "fault": case.fault}
    found.append(broken if case.times is None else {**broken, "times": case.times})
    return [*found, {"match": match, "reply": {"chunks": WORDS, **usage}}]


def stands_in(case: Case, primary: str) -> tuple[str, str]:
    """Provider and model that the operator names as the fallback."""
    return PREFILLED if case.rejects_prefill else BACKUP[primary]
