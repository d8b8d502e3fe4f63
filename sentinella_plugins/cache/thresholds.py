"""How sure is sure enough: learned from comparisons with fresh answers. Pure.

Three layers, each correcting the one below: the verifier's score; what comparisons said about such scores
at this tenant (Beta posterior with the score as its prior); what they said about the very entry (Beta
posterior with the tenant's as its prior). An answer is served when that probability reaches the tenant's bar.
The bar itself follows adaptive conformal inference (Gibbs & Candes 2021): each hit lowers it by
`step * alpha`, each wrong one raises it by `step`, so that in the long run at most a share `alpha` is wrong,
whatever the scores say.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from dataclasses import dataclass

from sentinella_plugins.cache.models import Checked, ErrorEstimate

BINS = 25
PRIOR = 8.0
"""Comparisons that the verifier's score counts for."""

ENTRY_PRIOR = 20.0
"""Comparisons of one entry that all those of its tenant count for."""

FORGET = 0.995
"""What an old comparison counts for after each newer one: about the last 200 decide."""

STEPS = 20
"""Wrong hits after which nothing is served, when there were no right ones to set against them."""

EARLY = 10
"""Of the first checks each moves the bar more: 10 times, 5 times, ... until this many were made."""

YOUNG = 20
"""Checked hits before a tenant is checked less."""

FADES_S = 43_200.0
"""Half-life of what raised the bar."""

MOST_PER_ENTRY = 32
_NEAR = 0.05
_Z = 1.96


@dataclass(slots=True)
class _Bin:
    ok: float = 0.0
    wrong: float = 0.0


class Thresholds:
    """Of one tenant. Feed it every comparison, in one order."""

    def __init__(self, *, max_error_rate: float, floor: float, window: int) -> None:
        self._alpha = max_error_rate
        self._floor = floor
        self._most = 2 - floor
        self._step = (1 - floor) / STEPS
        self._window = window
        self._bins = [_Bin() for _ in range(BINS)]
        self._entries: OrderedDict[str, deque[tuple[float, bool]]] = OrderedDict()
        self._served: deque[tuple[float, bool]] = deque(maxlen=window)
        self._bar, self._moved_at = floor, 0.0

    def observe(self, checked: Checked) -> None:
        for held in self._bins:
            held.ok *= FORGET
            held.wrong *= FORGET
        held = self._bins[_bin(checked.score)]
        if checked.ok:
            held.ok += 1
        else:
            held.wrong += 1
        seen = self._entries.pop(checked.entry, None) or deque(maxlen=MOST_PER_ENTRY)
        seen.append((checked.score, checked.ok))
        self._entries[checked.entry] = seen
        while len(self._entries) > self._window:
            self._entries.popitem(last=False)
        if checked.weight > 0:
            self._served.append((checked.weight, checked.ok))
            wrong = 0.0 if checked.ok else checked.weight
            step = self._step * max(1.0, EARLY / len(self._served))
            bar = self.bar(checked.at) + step * (wrong - self._alpha * checked.hits)
            self._bar, self._moved_at = min(self._most, max(self._floor, bar)), checked.at

    def confidence(self, entry: str, score: float) -> float:
        """The probability that the entry's answer fits a question with this score."""
        like_it = self._of_tenant(score)
        ok, wrong = ENTRY_PRIOR * like_it, ENTRY_PRIOR * (1 - like_it)
        for seen, was_ok in self._entries.get(entry, ()):
            if was_ok:
                ok += 1.0 if seen <= score + _NEAR else 0.3
            else:
                wrong += 1.0 if seen >= score - _NEAR else 0.3
        return ok / (ok + wrong)

    def bar(self, now: float) -> float:
        """The least confidence that is served; above 1 nothing is. What raised it fades with time:
        comparisons err too, and a tenant that nothing is served to could never show that it is better now."""
        faded: float = 0.5 ** (max(0.0, now - self._moved_at) / FADES_S)
        return self._floor + (self._bar - self._floor) * faded

    def trusts(self, confidence: float, now: float) -> bool:
        return confidence >= self.bar(now)

    def threshold(self, entry: str, now: float) -> float | None:
        """The least score with which the entry is served; `None` when there is none."""
        scores = (step / 100 for step in range(101))
        return next((score for score in scores if self.trusts(self.confidence(entry, score), now)), None)

    def check_probability(
        self, entry: str, confidence: float, now: float, *, rate: float, max_rate: float
    ) -> float:
        """`max_rate` while little is known of the tenant; then `rate` for a hit that is sure, more for one at
        the bar whose entry was seldom checked."""
        if len(self._served) < YOUNG:
            return max_rate
        unsure = min(1.0, (1 - confidence) / max(1 - self.bar(now), 1e-9))
        return rate + (max_rate - rate) * unsure / (1 + len(self._entries.get(entry, ())))

    def spoiled(self, entry: str) -> bool:
        """More often wrong than right: no question will be answered by it again."""
        seen = self._entries.get(entry, ())
        wrong = sum(not ok for _, ok in seen)
        return wrong >= 2 and 2 * wrong > len(seen)

    def estimate(self, now: float) -> ErrorEstimate:
        """Share of wrong semantic hits, weighted by what each check stands for; Wilson's interval."""
        total = sum(weight for weight, _ in self._served)
        wrong = sum(not ok for _, ok in self._served)
        if not total:
            return ErrorEstimate(0, 0, None, None, None, self.bar(now))
        rate = sum(weight for weight, ok in self._served if not ok) / total
        alike = total * total / sum(weight * weight for weight, _ in self._served)
        low, high = wilson(rate, alike)
        return ErrorEstimate(len(self._served), wrong, rate, low, high, self.bar(now))

    def _of_tenant(self, score: float) -> float:
        """Neighbouring scores count half."""
        at = _bin(score)
        ok, wrong = PRIOR * score, PRIOR * (1 - score)
        for place, share in ((at - 1, 0.5), (at, 1.0), (at + 1, 0.5)):
            if 0 <= place < BINS:
                ok += share * self._bins[place].ok
                wrong += share * self._bins[place].wrong
        return ok / (ok + wrong)


def wilson(rate: float, n: float) -> tuple[float, float]:
    """The 95 % interval of a share seen in `n` trials."""
    middle = rate + _Z * _Z / (2 * n)
    spread = _Z * math.sqrt(rate * (1 - rate) / n + _Z * _Z / (4 * n * n))
    whole = 1 + _Z * _Z / n
    return max(0.0, (middle - spread) / whole), min(1.0, (middle + spread) / whole)


def _bin(score: float) -> int:
    return min(BINS - 1, max(0, int(score * BINS)))
