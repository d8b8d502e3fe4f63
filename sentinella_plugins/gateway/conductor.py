"""Plays the plan of a chat call and owns what goes out to the client."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from time import perf_counter
from typing import Any

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
from sentinella_plugins.gateway.turns import Turn
from sentinella_plugins.gateway.upstream_errors import translate
from sentinella_plugins.gateway.whole import Whole
from sentinella_plugins.gateway.wire import Send, send_json
from sentinella_plugins.kernel.call import Call, Json, Outcome
from sentinella_plugins.kernel.clock import Clock
from sentinella_plugins.pipeline import Pipeline
from sentinella_plugins.tools.bounds import Loop
from sentinella_plugins.tools.models import Toolbox
from sentinella_plugins.tools.service import ToolsService

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
        tools: ToolsService,
        wishes: Wishes,
        clock: Clock,
    ) -> None:
        self._engine = engine
        self._catalogue = catalogue
        self._pipeline = pipeline
        self._fallback = fallback
        self._tools = tools
        self._wishes = wishes
        self._clock = clock
        self._whole = Whole(engine, fallback.config)
        self._streamed = Streamed(engine, fallback.config)

    async def play(self, call: Call, send: Send, *, wants_usage: bool) -> None:
        """Answers the client. Raises a `SentinellaError` when nothing was sent yet."""
        out = Outgoing(call, send, wants_usage=wants_usage, withholds_tools=call.note(Toolbox) is not None)

        async def answer(attempts: Attempts) -> None:
            if call.stream:
                await self._stream(call, attempts, out)
            else:
                outcome, loop = await self._complete(call, attempts)
                headers = answers.headers(call, model=outcome.model, cost=outcome.cost)
                body = {**(outcome.body or {}), **answers.additions(call, outcome, loop)}
                await send_json(send, 200, body, headers)

        await self._play(call, answer, out)

    async def ask(self, call: Call) -> Outcome:
        """For the gateway itself: the outcome of a success; raises what went wrong."""
        outcomes: list[Outcome] = []

        async def answer(attempts: Attempts) -> None:
            outcomes.append((await self._complete(call, attempts))[0])

        await self._play(call, answer, None)
        return outcomes[0]

    async def _play(
        self, call: Call, answer: Callable[[Attempts], Awaitable[None]], out: Outgoing | None
    ) -> None:
        progress = Progress(started=call.started, model=call.model)
        attempts = Attempts(call, progress, self._catalogue, self._fallback)
        try:
            async with asyncio.timeout(self._fallback.config.total_s):
                await answer(attempts)
        except asyncio.CancelledError:
            await asyncio.shield(asyncio.ensure_future(attempts.broken_off()))
            await self._leave(call, progress, progress.outcome("cancelled", perf_counter()))
            raise
        except Exception as error:
            await self._fail(call, attempts, out, error)

    async def _complete(self, call: Call, attempts: Attempts) -> tuple[Outcome, Loop | None]:
        progress, turn = attempts.progress, Turn(call, self._tools, self._clock)
        while True:
            request = await self._engine.prepare(turn.asked)
            answer = await self._whole.play(request, await self._begin(turn.asked), attempts)
            turn.used(answer.usage)
            if not await turn.goes_on(_message(answer.body), progress.cost):
                break
        body = {**answer.body, "usage": answers.usage_json(turn.usage)} if turn.between else answer.body
        outcome = replace(progress.outcome("success", perf_counter(), body=body), turn=turn.between)
        await self._leave(call, progress, outcome)
        return outcome, turn.loop

    async def _stream(self, call: Call, attempts: Attempts, out: Outgoing) -> None:
        progress, turn = attempts.progress, Turn(call, self._tools, self._clock)
        while True:
            request = await self._engine.prepare(turn.asked)
            usage = await self._streamed.play(request, await self._begin(turn.asked), attempts, out)
            usage = turn.used(usage)
            if not await turn.goes_on(out.message, progress.cost, out.tell):
                break
            out.next_round()
        outcome = progress.outcome("success", perf_counter(), body=out.body(usage))
        await self._leave(call, progress, replace(outcome, turn=turn.between))
        await out.end(answers.additions(call, outcome, turn.loop), usage)

    async def _begin(self, call: Call) -> Itinerary:
        return self._fallback.begin(call, *await self._wishes(call))

    async def _fail(self, call: Call, attempts: Attempts, out: Outgoing | None, error: Exception) -> None:
        progress = attempts.progress
        if progress.left:
            logger.info("call `%s` was settled, but its answer could not be sent: %s", call.id, error)
            return
        await attempts.broken_off("upstream_timeout")
        failure = translate(error, tuple(progress.attempts))
        await self._leave(call, progress, progress.outcome("error", perf_counter(), failure))
        if out is None or not out.started:
            raise failure from error
        await out.fail(failure)

    async def _leave(self, call: Call, progress: Progress, outcome: Outcome) -> None:
        if not progress.left:
            progress.left = True
            await self._pipeline.leave(call, outcome)


def _message(body: Json) -> Json:
    choices: Any = body.get("choices") or [{}]
    message: Json = choices[0].get("message") or {}
    return message
