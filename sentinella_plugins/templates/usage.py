"""How versions were used: added up in memory, written now and then."""

from __future__ import annotations

from dataclasses import replace

from sentinella_plugins.kernel.call import Outcome
from sentinella_plugins.kernel.money import Nano
from sentinella_plugins.templates.models import Usage
from sentinella_plugins.templates.store import Place


class Tally:
    """Bounded: once `most` versions wait, others are not counted."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._sums: dict[Place, Usage] = {}

    def add(self, place: Place, usage: Usage) -> None:
        known = self._sums.get(place)
        if known is not None:
            self._sums[place] = plus(known, usage)
        elif len(self._sums) < self._most:
            self._sums[place] = usage

    def take(self) -> dict[Place, Usage]:
        taken, self._sums = self._sums, {}
        return taken

    def give_back(self, taken: dict[Place, Usage]) -> None:
        for place, usage in taken.items():
            self.add(place, usage)


def of_call(outcome: Outcome, at: float) -> Usage:
    """Whoever went away is neither a success nor an error."""
    success = outcome.status == "success"
    return Usage(
        calls=1,
        successes=int(success),
        errors=int(outcome.status == "error"),
        cached=int(outcome.cached),
        prompt_tokens=max(outcome.usage.prompt, 0),
        completion_tokens=max(outcome.usage.completion, 0),
        cost=outcome.cost,
        latency_ms=outcome.latency_ms if success else 0.0,
        last_used_at=at,
    )


def plus(one: Usage, other: Usage) -> Usage:
    return replace(
        one,
        calls=one.calls + other.calls,
        successes=one.successes + other.successes,
        errors=one.errors + other.errors,
        cached=one.cached + other.cached,
        prompt_tokens=one.prompt_tokens + other.prompt_tokens,
        completion_tokens=one.completion_tokens + other.completion_tokens,
        cost=Nano(one.cost + other.cost),
        latency_ms=one.latency_ms + other.latency_ms,
        ratings=one.ratings + other.ratings,
        rating_sum=one.rating_sum + other.rating_sum,
        last_used_at=max(one.last_used_at or 0.0, other.last_used_at or 0.0) or None,
    )
