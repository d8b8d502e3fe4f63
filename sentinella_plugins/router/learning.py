"""How models did lately, for each kind of task: success, latency, length and cost, fading with time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sentinella_plugins.router.config import LearningConfig
from sentinella_plugins.router.models import Floats

ALL = "*"
Key = tuple[str, str]
CALLS, GOOD, FIRSTS, FIRST_MS, TOKENS, TOKEN_MS, ANSWERS, LENGTH, COST, FORESEEN, CAME = range(11)
WIDTH = 11
_TOKENS_PER_CALL = 100.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One attempt. `ms` is all of it, `first_ms` to its first token where that was seen; `foreseen` are the
    tokens that were predicted of its `tokens`, 0 for none."""

    ok: bool
    ms: float = 0.0
    first_ms: float | None = None
    tokens: int = 0
    foreseen: float = 0.0
    cost_usd: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """For M models, each of shape (M,): success rate, time to the first token and for each further one, and
    by what predicted lengths of answers are to be multiplied."""

    success: Floats
    first_ms: Floats
    token_ms: Floats
    stretch: Floats


class Live:
    """Sums in one array, a row for each pair of model and task; row 0 stays empty. What this worker saw and
    did not share yet is kept besides."""

    def __init__(self, config: LearningConfig, now: float) -> None:
        self._config = config
        self._rows: dict[Key, int] = {}
        self._sums = np.zeros((config.max_entries + 1, WIDTH))
        self._own = np.zeros((config.max_entries + 1, WIDTH))
        self._faded_at = now
        self._places: dict[tuple[Sequence[str], str], np.ndarray] = {}

    def record(self, model: str, task: str, sample: Sample, now: float) -> None:
        self.fade(now)
        for key in {(model, task), (model, ALL), (ALL, task)}:
            row = self._row(key)
            if row is not None:
                numbers = _numbers(sample, self._first_ms(row))
                self._sums[row] += numbers
                self._own[row] += numbers

    def columns(self, models: tuple[str, ...], task: str) -> Columns:
        every, own = self._sums[self._place(models, ALL)], self._sums[self._place(models, task)]
        config, prior = self._config, self._config.prior_calls
        success = _blend(config.prior_success, prior, every[:, GOOD], every[:, CALLS])
        first = _blend(config.prior_first_ms, prior, every[:, FIRST_MS], every[:, FIRSTS])
        tokens = prior * _TOKENS_PER_CALL
        token = _blend(config.prior_token_ms, tokens, every[:, TOKEN_MS], every[:, TOKENS])
        return Columns(
            success=_blend(success, prior, own[:, GOOD], own[:, CALLS]),
            first_ms=_blend(first, prior, own[:, FIRST_MS], own[:, FIRSTS]),
            token_ms=_blend(token, tokens, own[:, TOKEN_MS], own[:, TOKENS]),
            stretch=self._stretch(own, task),
        )

    def _stretch(self, own: Floats, task: str) -> Floats:
        """Of all models together, because prompts make answers long; then of each against that. Were it of
        each alone, the one that is asked would look cheaper or dearer than those that are not."""
        prior = self._config.prior_calls * _TOKENS_PER_CALL
        row = self._sums[self._rows.get((ALL, task), 0)]
        common = (prior + row[CAME]) / (prior + row[FORESEEN])
        return np.asarray(
            common * (prior + own[:, CAME]) / (prior + common * own[:, FORESEEN]), dtype=np.float64
        )

    def fade(self, now: float) -> None:
        """Seldom enough to cost nothing, often enough to be exact."""
        passed = now - self._faded_at
        if passed > self._config.half_life_s / 1000:
            factor = fading(passed, self._config.half_life_s)
            self._sums *= factor
            self._own *= factor
            self._faded_at = now

    def take(self) -> dict[Key, Floats]:
        """What was not shared yet; from now on it counts as shared."""
        news = {key: self._own[row].copy() for key, row in self._rows.items() if self._own[row].any()}
        self._own[:] = 0
        return news

    def give_back(self, news: Mapping[Key, Floats]) -> None:
        for key, sums in news.items():
            self._own[self._rows[key]] += sums

    def adopt(self, shared: Mapping[Key, Floats], now: float) -> None:
        """The sums of all workers, faded to now."""
        self.fade(now)
        for key, sums in shared.items():
            row = self._row(key)
            if row is not None:
                self._sums[row] = sums + self._own[row]

    def entries(self) -> Iterable[tuple[str, str, Floats]]:
        rows = sorted(self._rows.items())
        return ((model, task, self._sums[row]) for (model, task), row in rows if model != ALL)

    def _first_ms(self, row: int) -> float:
        sums, config = self._sums[row], self._config
        return (config.prior_first_ms * config.prior_calls + float(sums[FIRST_MS])) / (
            config.prior_calls + float(sums[FIRSTS])
        )

    def _row(self, key: Key) -> int | None:
        row = self._rows.get(key)
        if row is None and len(self._rows) < self._config.max_entries:
            row = self._rows[key] = len(self._rows) + 1
            self._places.clear()
        return row

    def _place(self, models: tuple[str, ...], task: str) -> np.ndarray:
        place = self._places.get((models, task))
        if place is None:
            place = np.array([self._rows.get((model, task), 0) for model in models], dtype=np.int64)
            if len(self._places) < self._config.max_entries:
                self._places[(models, task)] = place
        return place


def fading(seconds: float, half_life_s: float) -> float:
    return float(0.5 ** (max(0.0, seconds) / half_life_s))


def _numbers(sample: Sample, usual_first_ms: float) -> Floats:
    numbers = np.zeros(WIDTH)
    numbers[CALLS] = 1
    if not sample.ok:
        return numbers
    numbers[GOOD] = 1
    if sample.first_ms is not None:
        numbers[FIRSTS], numbers[FIRST_MS] = 1, sample.first_ms
    elif sample.tokens <= 1:
        numbers[FIRSTS], numbers[FIRST_MS] = 1, sample.ms
    if sample.tokens > 1:
        # A whole answer does not tell when its first token came: by what was seen, yet never all of it.
        first = sample.first_ms if sample.first_ms is not None else min(usual_first_ms, sample.ms / 2)
        if sample.first_ms is None:
            numbers[FIRSTS], numbers[FIRST_MS] = 1, first
        numbers[TOKENS], numbers[TOKEN_MS] = sample.tokens - 1, max(0.0, sample.ms - first)
    if sample.foreseen > 0 and sample.tokens:
        numbers[FORESEEN], numbers[CAME] = sample.foreseen, sample.tokens
    if sample.tokens:
        numbers[ANSWERS], numbers[LENGTH], numbers[COST] = 1, sample.tokens, sample.cost_usd
    return numbers


def _blend(prior: Floats | float, weight: float, total: Floats, number: Floats) -> Floats:
    return np.asarray((prior * weight + total) / (weight + number), dtype=np.float64)
