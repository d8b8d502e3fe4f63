"""The attempts of one call: what each asked, how it ended, what it used and what it cost."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from time import monotonic, perf_counter

from sentinella_plugins.fallback.models import Failure
from sentinella_plugins.fallback.service import FallbackService
from sentinella_plugins.gateway.answers import Progress
from sentinella_plugins.gateway.catalogue import LiteLLMCatalogue
from sentinella_plugins.gateway.engine import Answer
from sentinella_plugins.gateway.upstream_errors import classify, retry_after
from sentinella_plugins.kernel.call import Attempt, Call, Usage


@dataclass
class Running:
    """An attempt that has begun. `said` is its text so far."""

    model: str
    began: float = field(default_factory=perf_counter)
    started: float = field(default_factory=monotonic)
    first_byte: float | None = None
    said: list[str] = field(default_factory=list)
    usage: Usage | None = None

    def ms(self) -> float:
        return ((self.first_byte or perf_counter()) - self.began) * 1000


class Attempts:
    def __init__(
        self, call: Call, progress: Progress, catalogue: LiteLLMCatalogue, fallback: FallbackService
    ) -> None:
        self.call = call
        self.progress = progress
        self._catalogue = catalogue
        self._fallback = fallback
        self._running: list[Running] = []

    def begin(self, model: str) -> Running:
        running = Running(model)
        self._running.append(running)
        return running

    def answered(self, running: Running, answer: Answer) -> None:
        self._end(running, ok=True)
        self.progress.model, self.progress.provider = answer.model, answer.provider
        elapsed = (perf_counter() - running.began) * 1000
        self.progress.spend(
            Attempt(
                model=answer.model, provider=answer.provider, status="success", ms=elapsed, cost=answer.cost
            ),
            answer.usage,
        )

    async def streamed(self, running: Running) -> Usage:
        """The stream came to its end: what it used, told by the provider or counted."""
        self._end(running, ok=True)
        self.progress.model, self.progress.provider = self._catalogue.public_name(running.model)
        usage = running.usage or await self._count(running)
        self._spend(running, usage, "success", None)
        return usage

    async def failed(self, running: Running, error: BaseException) -> Failure:
        """Before any text an attempt that failed costs nothing; text that came is paid."""
        status, code = classify(error)
        self._end(running, ok=False, code=code)
        usage = (running.usage or await self._count(running)) if any(running.said) else Usage()
        self._spend(running, usage, "error", code)
        return Failure(code, status, retry_after(error), str(error), running.model)

    async def broken_off(self, code: str = "cancelled") -> None:
        """Nobody waits for those that still run: their prompts and their text so far are paid."""
        for running in tuple(self._running):
            self._end(running, ok=False, code=code)
            usage = running.usage or await self._count(running)
            self._spend(running, usage, "cancelled" if code == "cancelled" else "error", code)

    async def lost(self, running: Running) -> None:
        """Another one answered first. It was slow, not wrong; its prompt is paid."""
        slow = running.ms() >= self._fallback.config.first_byte_s * 1000
        self._end(running, ok=True, ms=math.inf if slow else running.ms())
        self._spend(running, await self._count(running), "cancelled", "hedged")

    def _end(self, running: Running, *, ok: bool, code: str | None = None, ms: float | None = None) -> None:
        self._running.remove(running)
        ms = running.ms() if ms is None else ms
        self._fallback.record(running.model, ok=ok, ms=ms, code=code, started=running.started)

    def _spend(self, running: Running, usage: Usage, status: str, code: str | None) -> None:
        name, provider = self._catalogue.public_name(running.model)
        self.progress.model, self.progress.provider = name, provider
        self.progress.spend(
            Attempt(
                model=name,
                provider=provider,
                status=status,  # type: ignore[arg-type]
                ms=(perf_counter() - running.began) * 1000,
                error=code,
                cost=self._catalogue.cost(running.model, usage),
            ),
            usage,
        )

    async def _count(self, running: Running) -> Usage:
        return Usage(
            prompt=await self._catalogue.count_prompt(running.model, self.call.body),
            completion=await self._catalogue.count_text("".join(running.said)),
        )
