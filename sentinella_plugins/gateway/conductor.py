"""Plays the plan of a chat call and owns what goes out to the client."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from time import perf_counter

from sentinella_plugins.fallback.itinerary import Itinerary
from sentinella_plugins.fallback.models import Preferences
from sentinella_plugins.fallback.service import FallbackService
from sentinella_plugins.gateway import answers
from sentinella_plugins.gateway.answers import Progress
from sentinella_plugins.gateway.attempts import Attempts
from sentinella_plugins.gateway.catalogue import LiteLLMCatalogue
from sentinella_plugins.gateway.engine import Engine
from sentinella_plugins.gateway.stream import Outgoing
from sentinella_plugins.gateway.streamed import Streamed
from sentinella_plugins.gateway.upstream_errors import translate
from sentinella_plugins.gateway.whole import Whole
from sentinella_plugins.gateway.wire import Send, send_json
from sentinella_plugins.kernel.call import Call, Outcome
from sentinella_plugins.pipeline import Pipeline

logger = logging.getLogger(__name__)
Wishes = Callable[[Call], Awaitable[tuple[Callable[[str], bool], Preferences]]]


class Conductor:
    """A call that comes here holds its reservations: whatever happens, it leaves through the pipeline exactly
    once. `wishes` tells which models a call may use, and its tenant's preferences."""

    def __init__(
        self,
        engine: Engine,
        catalogue: LiteLLMCatalogue,
        pipeline: Pipeline,
        fallback: FallbackService,
        wishes: Wishes,
    ) -> None:
        self._engine = engine
        self._catalogue = catalogue
        self._pipeline = pipeline
        self._fallback = fallback
        self._wishes = wishes
        self._whole = Whole(engine, fallback.config)
        self._streamed = Streamed(engine, fallback.config)

    async def play(self, call: Call, send: Send, *, wants_usage: bool) -> None:
        """Answers the client. Raises a `SentinellaError` when nothing was sent yet."""
        progress = Progress(started=call.started, model=call.model)
        attempts = Attempts(call, progress, self._catalogue, self._fallback)
        out = Outgoing(call, send, wants_usage=wants_usage)
        try:
            async with asyncio.timeout(self._fallback.config.total_s):
                if call.stream:
                    await self._stream(call, attempts, out)
                else:
                    await self._complete(call, attempts, send)
        except asyncio.CancelledError:
            await asyncio.shield(asyncio.ensure_future(attempts.broken_off()))
            await self._leave(call, progress, progress.outcome("cancelled", perf_counter()))
            raise
        except Exception as error:
            await self._fail(call, attempts, out, error)

    async def _complete(self, call: Call, attempts: Attempts, send: Send) -> None:
        request = await self._engine.prepare(call)
        answer = await self._whole.play(request, await self._begin(call), attempts)
        progress = attempts.progress
        outcome = progress.outcome("success", perf_counter(), body=answer.body)
        await self._leave(call, progress, outcome)
        headers = answers.headers(call, model=progress.model, cost=progress.cost)
        await send_json(send, 200, {**answer.body, **answers.additions(call, outcome)}, headers)

    async def _stream(self, call: Call, attempts: Attempts, out: Outgoing) -> None:
        request = await self._engine.prepare(call)
        usage = await self._streamed.play(request, await self._begin(call), attempts, out)
        outcome = attempts.progress.outcome("success", perf_counter())
        await self._leave(call, attempts.progress, outcome)
        await out.end(answers.additions(call, outcome), usage)

    async def _begin(self, call: Call) -> Itinerary:
        return self._fallback.begin(call, *await self._wishes(call))

    async def _fail(self, call: Call, attempts: Attempts, out: Outgoing, error: Exception) -> None:
        progress = attempts.progress
        if progress.left:
            logger.info("call `%s` was settled, but its answer could not be sent: %s", call.id, error)
            return
        await attempts.broken_off("upstream_timeout")
        failure = translate(error, tuple(progress.attempts))
        await self._leave(call, progress, progress.outcome("error", perf_counter(), failure))
        if not out.started:
            raise failure from error
        await out.fail(failure)

    async def _leave(self, call: Call, progress: Progress, outcome: Outcome) -> None:
        if not progress.left:
            progress.left = True
            await self._pipeline.leave(call, outcome)
