"""A whole answer: attempt after attempt, and beside a silent one."""

from __future__ import annotations

import asyncio
from time import monotonic

from sentinella_plugins.fallback.config import FallbackConfig
from sentinella_plugins.fallback.itinerary import Itinerary
from sentinella_plugins.fallback.models import Step
from sentinella_plugins.gateway.attempts import Attempts, Running
from sentinella_plugins.gateway.engine import Answer, Engine, Request

_Race = dict[asyncio.Task[Answer], Running]


class Whole:
    """A model that writes a long answer and one that is dead look alike until the answer is there. So a
    silent one is not left, but another is asked beside it, and the first to answer wins."""

    def __init__(self, engine: Engine, config: FallbackConfig) -> None:
        self._engine = engine
        self._config = config
        self._patience: dict[str, float] = {}

    async def play(self, request: Request, itinerary: Itinerary, attempts: Attempts) -> Answer:
        """The answer. Raises the last failure when the plan is at its end."""
        race: _Race = {}
        step: Step | None = itinerary.first()
        try:
            while True:
                if step is not None:
                    await self._start(step, request, race, attempts)
                done = await self._wait(race, hedging=step is not None)
                step = None
                if not done:
                    step = itinerary.hedge(monotonic())
                    continue
                for task in done:
                    running = race.pop(task)
                    error = task.exception()
                    if error is None:
                        return await self._won(task.result(), running, race, attempts)
                    if not isinstance(error, Exception):
                        raise error
                    failure = await attempts.failed(running, error)
                    if not race:
                        step = itinerary.after(failure, monotonic())
                        if step is None:
                            raise await self._engine.after_failure(request, error)
        finally:
            for task in race:
                task.cancel()
            await asyncio.gather(*race, return_exceptions=True)

    async def _start(self, step: Step, request: Request, race: _Race, attempts: Attempts) -> None:
        await asyncio.sleep(step.wait_s)
        task = asyncio.ensure_future(self._engine.complete(request.asking(step.model)))
        race[task] = attempts.begin(step.model)

    async def _wait(self, race: _Race, *, hedging: bool) -> set[asyncio.Task[Answer]]:
        newest = list(race.values())[-1]
        patience = self._patience_with(newest.model) if hedging else None
        done, _ = await asyncio.wait(race, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        return done

    async def _won(self, answer: Answer, running: Running, race: _Race, attempts: Attempts) -> Answer:
        self._learn(running)
        for task, loser in race.items():
            task.cancel()
            await attempts.lost(loser)
        attempts.answered(running, answer)
        return answer

    def _patience_with(self, model: str) -> float:
        """`first_byte_s`, or more for a model that is known to take longer over whole answers."""
        if self._config.hedge_after_ms is not None:
            return self._config.hedge_after_ms / 1000
        return max(self._config.first_byte_s, self._patience.get(model, 0.0))

    def _learn(self, running: Running) -> None:
        """Twice the longest time of late; a quicker answer lets it fade."""
        took = running.ms() / 1000
        self._patience[running.model] = max(2 * took, 0.95 * self._patience.get(running.model, 0.0))
