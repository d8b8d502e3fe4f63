"""Plays a chat call on LiteLLM's Router and owns what goes out to the client."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from time import perf_counter
from typing import Any

from sentinella_plugins.gateway import answers, host
from sentinella_plugins.gateway.answers import Progress
from sentinella_plugins.gateway.catalogue import LiteLLMCatalogue
from sentinella_plugins.gateway.engine import Engine, Request
from sentinella_plugins.gateway.stream import Outgoing
from sentinella_plugins.gateway.upstream_errors import classify, translate
from sentinella_plugins.gateway.wire import Send, send_json
from sentinella_plugins.kernel.call import Attempt, Call, Outcome, Usage
from sentinella_plugins.kernel.errors import UpstreamFailed
from sentinella_plugins.kernel.money import nano
from sentinella_plugins.pipeline import Pipeline

logger = logging.getLogger(__name__)


class StreamInterrupted(UpstreamFailed):
    """The model's stream ended before its answer was complete."""


class Conductor:
    """A call that comes here holds its reservations: whatever happens, it leaves through the pipeline exactly
    once."""

    def __init__(
        self, engine: Engine, catalogue: LiteLLMCatalogue, pipeline: Pipeline, timeout_s: float
    ) -> None:
        self._engine = engine
        self._catalogue = catalogue
        self._pipeline = pipeline
        self._timeout_s = timeout_s

    async def play(self, call: Call, send: Send, *, wants_usage: bool) -> None:
        """Answers the client. Raises a `SentinellaError` when nothing was sent yet."""
        progress = Progress(started=call.started, model=call.model)
        out = Outgoing(call, send, wants_usage=wants_usage)
        try:
            async with asyncio.timeout(self._timeout_s):
                request = await self._engine.prepare(call)
                response = await self._attempt(call, request, progress)
                if call.stream:
                    await self._stream(call, progress, self._engine.chunks(request, response), out)
                else:
                    await self._complete(
                        call, progress, await self._engine.after_success(request, response), send
                    )
        except asyncio.CancelledError:
            await self._cancelled(call, progress)
            raise
        except Exception as error:
            await self._fail(call, progress, out, error)

    async def _attempt(self, call: Call, request: Request, progress: Progress) -> Any:
        progress.asked = perf_counter()
        try:
            response = await self._engine.ask(request)
        except Exception as error:
            cause = error.exceptions[0] if isinstance(error, ExceptionGroup) else error
            progress.attempts.append(self._failed(progress, cause))
            raise await self._engine.after_failure(request, cause) from error
        progress.model, progress.provider = self._catalogue.answered_by(response, call.model)
        progress.attempts.append(
            Attempt(
                model=progress.model,
                provider=progress.provider,
                status="success",
                ms=(perf_counter() - progress.asked) * 1000,
            )
        )
        return response

    async def _complete(self, call: Call, progress: Progress, response: Any, send: Send) -> None:
        progress.usage = answers.usage_of(getattr(response, "usage", None))
        cost = host.completed_cost(response)
        progress.cost = self._catalogue.cost(progress.model, progress.usage) if cost is None else nano(cost)
        body = answers.completion_body(response, progress.model)
        outcome = progress.outcome("success", perf_counter(), body=body)
        await self._leave(call, progress, outcome)
        await send_json(
            send,
            200,
            {**body, **answers.additions(call, outcome)},
            answers.headers(call, model=progress.model, cost=progress.cost),
        )

    async def _stream(self, call: Call, progress: Progress, chunks: Any, out: Outgoing) -> None:
        async with aclosing(chunks):
            async for chunk in chunks:
                if progress.first_token is None:
                    progress.first_token = perf_counter()
                if getattr(chunk, "usage", None) is not None:
                    progress.usage = answers.usage_of(chunk.usage)
                progress.text.append(await out.chunk(chunk, progress.model))
        if not out.finished:
            raise StreamInterrupted(code="stream_interrupted")
        await self._price(call, progress)
        outcome = progress.outcome("success", perf_counter())
        await self._leave(call, progress, outcome)
        await out.end(answers.additions(call, outcome), progress.usage or Usage())

    async def _fail(self, call: Call, progress: Progress, out: Outgoing, error: Exception) -> None:
        if progress.left:
            logger.info("call `%s` was settled, but its answer could not be sent: %s", call.id, error)
            return
        if out.started:  # tokens are with the client and must be paid
            progress.attempts[-1] = self._failed(progress, error)
            await self._price(call, progress)
        failure = translate(error, tuple(progress.attempts))
        await self._leave(call, progress, progress.outcome("error", perf_counter(), failure))
        if not out.started:
            raise failure from error
        await out.fail(failure)

    async def _cancelled(self, call: Call, progress: Progress) -> None:
        """The client went away: the prompt and the tokens so far are paid, once a model was asked."""
        if progress.asked is not None and not progress.left:
            await asyncio.shield(asyncio.ensure_future(self._price(call, progress)))
        await self._leave(call, progress, progress.outcome("cancelled", perf_counter()))

    async def _leave(self, call: Call, progress: Progress, outcome: Outcome) -> None:
        if not progress.left:
            progress.left = True
            await self._pipeline.leave(call, outcome)

    async def _price(self, call: Call, progress: Progress) -> None:
        if progress.usage is None:
            progress.usage = Usage(
                prompt=await self._catalogue.count_prompt(call.model, call.body),
                completion=await self._catalogue.count_text("".join(progress.text)),
            )
        progress.cost = self._catalogue.cost(progress.model, progress.usage)

    def _failed(self, progress: Progress, error: BaseException) -> Attempt:
        card = self._catalogue.find(progress.model)
        began = progress.asked or perf_counter()
        return Attempt(
            model=progress.model,
            provider=card.provider if card else progress.provider,
            status="error",
            ms=(perf_counter() - began) * 1000,
            error=classify(error)[1],
        )
