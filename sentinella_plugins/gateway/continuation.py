"""Taking up an answer where another model broke off."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_INSTRUCTION = (
    "Your answer above was cut off by a technical fault. Continue it from exactly where it stops: the very "
    "next characters, in the middle of a word if need be. Do not repeat anything and do not comment on it."
)
_LONGEST_OVERLAP = 200
_SHORTEST_OVERLAP = 8


def continued(messages: Sequence[Any], said: str, *, prefill: bool) -> list[Any]:
    """The messages for the model that takes over: the answer so far as the assistant's unfinished turn where
    the model can go on from that, else with the request to go on."""
    partial = {"role": "assistant", "content": said}
    if prefill:
        return [*messages, {**partial, "prefix": True}]
    return [*messages, partial, {"role": "user", "content": _INSTRUCTION}]


class Continuation:
    """Takes from the beginning of a continuation what it says again of the text before it."""

    def __init__(self, said: str) -> None:
        self._said = said[-_LONGEST_OVERLAP:]
        self._begun = ""
        self._decided = False

    def trim(self, batch: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for chunk in batch:
            for choice in chunk.get("choices") or ():
                delta, last = choice.setdefault("delta", {}), bool(choice.get("finish_reason"))
                if not self._decided and (delta.get("content") or last):
                    delta["content"] = self._fresh(delta.get("content") or "", last=last)
        return batch

    def _fresh(self, piece: str, *, last: bool) -> str:
        """Holds text back while it could still be a repetition of the end."""
        self._begun += piece
        if not last and len(self._begun) < _LONGEST_OVERLAP and self._begun in self._said:
            return ""
        self._decided = True
        return self._begun[self._overlap() :]

    def _overlap(self) -> int:
        longest = min(len(self._said), len(self._begun))
        for length in range(longest, _SHORTEST_OVERLAP - 1, -1):
            if self._said.endswith(self._begun[:length]):
                return length
        return 0
