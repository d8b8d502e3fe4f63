"""A streamed answer: attempt after attempt, also in the middle of a sentence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from time import monotonic, perf_counter
from typing import Any

from sentinella_plugins.fallback.config import FallbackConfig
from sentinella_plugins.fallback.itinerary import Itinerary
from sentinella_plugins.fallback.models import Failure, Step
from sentinella_plugins.fallback.verdicts import is_rejection
from sentinella_plugins.gateway.answers import usage_of_json
from sentinella_plugins.gateway.attempts import Attempts, Running
from sentinella_plugins.gateway.continuation import Continuation, continued
from sentinella_plugins.gateway.engine import Engine, Request
from sentinella_plugins.gateway.stream import Outgoing
from sentinella_plugins.kernel.call import Usage
from sentinella_plugins.kernel.errors import UpstreamFailed

_Batches = AsyncGenerator[list[dict[str, Any]], None]


class Streamed:
    def __init__(self, engine: Engine, config: FallbackConfig) -> None:
        self._engine = engine
        self._config = config

    async def play(self, request: Request, itinerary: Itinerary, attempts: Attempts, out: Outgoing) -> Usage:
        """Streams until some model has said all: what that one used. Raises the last failure."""
        step = itinerary.first()
        refused: set[str] = set()
        while True:
            await asyncio.sleep(step.wait_s)
            running = attempts.begin(step.model)
            try:
                asking = await self._asking(request, step, out, refused)
                await self._attempt(asking, running, attempts, out, step)
            except Exception as error:
                if out.finished:  # what broke after the model's last word took nothing from the answer
                    break
                failure = await attempts.failed(running, error)
                following = self._next(itinerary, failure, out)
                if following is None:
                    raise await self._engine.after_failure(request, error) from error
                if (
                    step.recovery == "continue"
                    and is_rejection(failure)
                    and self._engine.prefills(step.model)
                ):
                    # It does not take the half of an answer as its own: it is asked for the rest in words.
                    refused.add(step.model)
                    following = replace(following, recovery="continue")
                step = following
            else:
                break
        return await attempts.streamed(running)

    def _next(self, itinerary: Itinerary, failure: Failure, out: Outgoing) -> Step | None:
        step = itinerary.after(failure, monotonic(), sent_tokens=out.began)
        return None if step and step.recovery == "continue" and not out.continuable else step

    async def _asking(self, request: Request, step: Step, out: Outgoing, refused: set[str]) -> Request:
        if step.recovery == "restart":
            await out.restart(step.model)
        said = "".join(out.text)
        if step.recovery != "continue" or not said:
            return request.asking(step.model)
        prefill = self._engine.prefills(step.model) and step.model not in refused
        messages = continued(request.data["messages"], said, prefill=prefill)
        return request.asking(step.model, messages).without(await self._engine.count(said))

    async def _attempt(
        self, request: Request, running: Running, attempts: Attempts, out: Outgoing, step: Step
    ) -> None:
        name = self._engine.public_name(step.model)
        if not out.began:
            out.forget()
        overlap = Continuation("".join(out.text)) if step.recovery == "continue" else None
        ended = False
        async with aclosing(self._engine.stream(request)) as batches:
            async for batch in self._in_time(batches, running, self._first_byte_s(request)):
                ended = ended or not batch
                for chunk in batch:
                    if chunk.get("usage"):
                        running.usage = usage_of_json(chunk["usage"])
                running.said.append(await out.chunks(overlap.trim(batch) if overlap else batch, name))
                if attempts.progress.first_token is None and out.started:
                    attempts.progress.first_token = perf_counter()
        if not (out.finished or ended):
            raise UpstreamFailed("The model's stream ended before its answer did.", code="stream_interrupted")

    async def _in_time(self, batches: _Batches, running: Running, first_byte_s: float) -> _Batches:
        """The batches, each before its deadline: the first one that says something, then the next ones."""
        deadline = running.began + first_byte_s
        while True:
            try:
                async with asyncio.timeout(max(0.0, deadline - perf_counter())):
                    batch = await anext(batches)
            except StopAsyncIteration:
                return
            except TimeoutError:
                raise self._late(running) from None
            if any(chunk.get("choices") and _speaks(chunk) for chunk in batch):
                running.first_byte = running.first_byte or perf_counter()
            if running.first_byte is not None:
                deadline = perf_counter() + self._config.idle_s
            yield batch

    def _first_byte_s(self, request: Request) -> float:
        thinks = self._engine.reasons(request)
        return self._config.reasoning_first_byte_s if thinks else self._config.first_byte_s

    def _late(self, running: Running) -> UpstreamFailed:
        if running.first_byte is None:
            return UpstreamFailed("The model was silent for too long.", status=504, code="upstream_silent")
        return UpstreamFailed(
            "The model stopped in the middle of its answer.", status=504, code="upstream_stalled"
        )


def _speaks(chunk: dict[str, Any]) -> bool:
    return any(
        choice.get("finish_reason") or any(v for k, v in (choice.get("delta") or {}).items() if k != "role")
        for choice in chunk["choices"]
    )
