"""Model routes that LiteLLM serves itself: authenticated, limited and counted like a chat call."""

from __future__ import annotations

import asyncio
from time import perf_counter

from sentinella_plugins.gateway import metered_failure as failures
from sentinella_plugins.gateway.answers import NOTHING, Progress
from sentinella_plugins.gateway.catalogue import LiteLLMCatalogue
from sentinella_plugins.gateway.meter import Meter
from sentinella_plugins.gateway.metered_answer import Answer
from sentinella_plugins.gateway.metered_inside import inner_scope, payload, replay
from sentinella_plugins.gateway.wire import ASGIApp, Scope, Send
from sentinella_plugins.kernel.call import Attempt, Call, Status, Usage
from sentinella_plugins.kernel.errors import ClientGone, SentinellaError, UpstreamFailed
from sentinella_plugins.kernel.money import FREE, Nano
from sentinella_plugins.pipeline import Pipeline

_TRIES = 2
_SHORT_WAIT_S = 0.5


class Metered:
    def __init__(
        self, inner: ASGIApp, meter: Meter, catalogue: LiteLLMCatalogue, pipeline: Pipeline, wait_s: float
    ) -> None:
        self._inner = inner
        self._meter = meter
        self._catalogue = catalogue
        self._pipeline = pipeline
        self._wait_s = wait_s

    async def play(self, call: Call, scope: Scope, send: Send, *, wants_usage: bool) -> None:
        """Passes the call on to LiteLLM's endpoint; the end of its answer is held back until its numbers are
        in the books. Raises what the client can still be told. Cancelling it ends the upstream's work."""
        progress = Progress(started=call.started)
        progress.model, progress.provider = self._catalogue.public_name(call.model)
        try:
            for left in reversed(range(_TRIES)):
                trial = _Trial(call, Answer(call, send, wants_usage=wants_usage))
                failure = await self._try(trial, scope, progress)
                if failure is None or trial.answer.started or not left or not failures.may_pass(failure):
                    break
            await self._leave(call, progress, "error" if failure else "success", failure)
            await _finish(trial.answer, failure, progress)
        except (asyncio.CancelledError, ClientGone):
            await asyncio.shield(asyncio.ensure_future(self._broken_off(trial, progress)))
            raise
        finally:
            self._meter.forget(call.id)

    async def _try(self, trial: _Trial, scope: Scope, progress: Progress) -> SentinellaError | None:
        """One request to LiteLLM's endpoint; tells what went wrong with it."""
        call, answer = trial.call, trial.answer
        self._meter.expect(call.id)
        body = payload(call)
        try:
            await self._inner(inner_scope(scope, call, body), replay(body), answer.send)
        except ClientGone:
            raise
        except Exception as error:
            self._meter.fail(call.id, error)
        if _is_cancelled():  # and LiteLLM has answered all the same
            raise ClientGone
        failure = None if answer.whole else self._failure(trial)
        usage, cost = await (self._told(trial, self._wait_s) if failure is None else self._counted(trial))
        progress.first_token = answer.first_token
        self._spend(trial, progress, usage, cost, failure)
        return None if failure is None else failures.told_with(failure, _public(progress))

    def _failure(self, trial: _Trial) -> SentinellaError:
        answer, known = trial.answer, self._meter.failure(trial.call.id)
        if answer.started:
            return failures.interrupted()
        if known is not None:
            return failures.from_exception(known)
        if answer.status is not None and answer.status >= 400:
            return failures.from_answer(answer.status, answer.body)
        return UpstreamFailed() if answer.status is None else failures.interrupted()

    async def _broken_off(self, trial: _Trial, progress: Progress) -> None:
        """The client went away: the prompt and the words so far are paid."""
        if progress.left:
            return
        if trial.answer.whole:
            usage, cost = await self._told(trial, _SHORT_WAIT_S)
        else:
            usage, cost = await self._counted(trial, asked=True)
        progress.first_token = trial.answer.first_token
        if not trial.spent:
            self._spend(trial, progress, usage, cost, ClientGone())
        await self._leave(trial.call, progress, "cancelled", ClientGone())

    async def _told(self, trial: _Trial, wait_s: float) -> tuple[Usage, Nano]:
        """What LiteLLM told; of an answer whose numbers do not come in time, what was reserved for it."""
        reading = await self._meter.read(trial.call.id, wait_s)
        if reading is not None:
            return reading.usage, reading.cost
        estimate = trial.call.estimate
        if estimate is None:
            return NOTHING, FREE
        return Usage(prompt=estimate.prompt_tokens, completion=estimate.completion_tokens), estimate.cost

    async def _counted(self, trial: _Trial, *, asked: bool = False) -> tuple[Usage, Nano]:
        """What was passed on. An answer that failed without a word costs nothing."""
        said, call = "".join(trial.answer.said), trial.call
        if not said and not asked:
            return NOTHING, FREE
        usage = Usage(
            prompt=await self._catalogue.count_prompt(call.model, call.body),
            completion=await self._catalogue.count_text(said) if said else 0,
        )
        return usage, self._catalogue.cost(call.model, usage)

    @staticmethod
    def _spend(
        trial: _Trial, progress: Progress, usage: Usage, cost: Nano, failure: SentinellaError | None
    ) -> None:
        trial.spent = True
        gone = isinstance(failure, ClientGone)
        attempt = Attempt(
            model=progress.model,
            provider=progress.provider,
            status="success" if failure is None else "cancelled" if gone else "error",
            ms=(perf_counter() - trial.began) * 1000,
            error=None if failure is None else "cancelled" if gone else failure.code,
            cost=cost,
        )
        progress.spend(attempt, usage)

    async def _leave(
        self, call: Call, progress: Progress, status: Status, error: SentinellaError | None
    ) -> None:
        progress.left = True
        await self._pipeline.leave(call, progress.outcome(status, perf_counter(), error))


class _Trial:
    def __init__(self, call: Call, answer: Answer) -> None:
        self.call = call
        self.answer = answer
        self.began = perf_counter()
        self.spent = False


async def _finish(answer: Answer, failure: SentinellaError | None, progress: Progress) -> None:
    if failure is None:
        return await answer.release(progress.model, progress.cost)
    if not answer.started:
        raise failure
    await answer.fail(failure)


def _public(progress: Progress) -> list[dict[str, object]]:
    return [attempt.public() for attempt in progress.attempts]


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
