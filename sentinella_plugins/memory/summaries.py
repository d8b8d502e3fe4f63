"""Old messages become a summary, in the background: the summary so far and what came after it, in one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from sentinella_plugins.kernel.asking import Ask, Question
from sentinella_plugins.kernel.call import Json, Principal
from sentinella_plugins.kernel.clock import Clock
from sentinella_plugins.kernel.errors import SentinellaError
from sentinella_plugins.memory.config import MemoryConfig
from sentinella_plugins.memory.extract import extract
from sentinella_plugins.memory.fit import cut_for_summary
from sentinella_plugins.memory.messages import answer_of, text_of
from sentinella_plugins.memory.minutes import Minute, MinuteStore
from sentinella_plugins.memory.models import Head, Message
from sentinella_plugins.memory.wording import spoken, summary_message, summary_request

logger = logging.getLogger(__name__)
Count = Callable[[str, Json], Awaitable[int]]
_AT_ONCE = 200
_MOST_STEPS = 50
_MARGIN_S = 30.0
_CHARS_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class _Job:
    head: Head
    principal: Principal


class Summaries:
    """`run` must run. One summary of a session at a time, in all workers."""

    def __init__(
        self,
        store: MinuteStore,
        ask: Ask | None,
        count: Count,
        clock: Clock,
        config: MemoryConfig,
        on_summary: Callable[[str], None] = lambda _kind: None,
    ) -> None:
        self._on_summary = on_summary
        self._store = store
        self._ask = ask
        self._count = count
        self._clock = clock
        self._config = config
        self._queue: asyncio.Queue[_Job] = asyncio.Queue()
        self._waiting: set[str] = set()

    def propose(self, head: Head, principal: Principal) -> None:
        """Nothing is lost when too many wait: the session comes again with its next turn."""
        full = len(self._waiting) >= self._config.max_waiting_summaries
        if full or head.ref in self._waiting or not self._is_due(head):
            return
        self._waiting.add(head.ref)
        self._queue.put_nowait(_Job(head, principal))

    async def idle(self) -> None:
        """Until none waits or is being made."""
        await self._queue.join()

    async def run(self) -> None:
        await asyncio.gather(*(self._worker() for _ in range(self._config.summaries_at_once)))

    async def bring_up(self, head: Head, principal: Principal, *, all_but_last: bool = False) -> Head:
        """Summarises what is due, or all but the last messages. The session as it is then."""
        if self._config.summary == "off":
            return head
        claimed = await self._store.claim(head, self._clock.now(), self._until())
        if claimed is None:
            return head
        try:
            return await self._steps(claimed, principal, all_but_last)
        finally:
            await self._store.free(claimed)

    async def _steps(self, head: Head, principal: Principal, all_but_last: bool) -> Head:
        for _ in range(_MOST_STEPS):
            further = await self._step(head, principal) if all_but_last or self._is_due(head) else None
            if further is None:
                break
            head = further
        return head

    async def _step(self, head: Head, principal: Principal) -> Head | None:
        """`None` when nothing can be summarised, or somebody else was quicker."""
        most = min(head.uncovered - self._config.keep_last, _AT_ONCE)
        if most <= 0:
            return None
        messages = await self._store.oldest(head, most + 1)
        cut = cut_for_summary(messages, self._readable(messages[:most]))
        if cut == 0:
            return None
        text, kind = await self._write(head.summary, messages[:cut], principal)
        tokens = await self._count(self._config.summary_model, {"messages": [summary_message(text)]})
        minute = Minute(text, kind, tokens, covered=messages[cut - 1].seq)
        written = await self._store.write(head, minute, self._until())
        if written is not None:
            self._on_summary(kind)
        return written

    async def _write(
        self, old: str | None, messages: Sequence[Message], principal: Principal
    ) -> tuple[str, str]:
        longest = self._config.summary_tokens * _CHARS_PER_TOKEN
        if self._config.summary == "model" and self._ask is not None:
            text = await self._asked(self._ask, old, messages, principal)
            if text:
                return text[:longest], "model"
        return await asyncio.to_thread(extract, old, spoken(messages), longest), "extractive"

    async def _asked(
        self, ask: Ask, old: str | None, messages: Sequence[Message], principal: Principal
    ) -> str | None:
        body = summary_request(old, messages, self._config.summary_tokens)
        question = Question(
            purpose="summary", principal=principal, model=self._config.summary_model, body=body
        )
        try:
            async with asyncio.timeout(self._config.summary_timeout_s):
                answer = answer_of(await ask(question))
        except (SentinellaError, TimeoutError) as error:
            logger.info("no model summarised for tenant `%s`: %s", principal.tenant, error)
            return None
        return None if answer is None else text_of(answer).strip()

    def _readable(self, messages: Sequence[Message]) -> int:
        """How many of them may be summarised at once: one at least."""
        left = self._config.summary_input_chars
        for at, (role, text) in enumerate(spoken(messages)):
            left -= len(role) + len(text)
            if left < 0:
                return max(1, at)
        return len(messages)

    def _until(self) -> float:
        return self._clock.now() + self._config.summary_timeout_s + _MARGIN_S

    def _is_due(self, head: Head) -> bool:
        return self._config.summary != "off" and head.uncovered > self._config.summarise_after

    async def _worker(self) -> None:
        while True:
            job = await self._queue.get()
            try:
                await self.bring_up(job.head, job.principal)
            except SentinellaError as error:
                logger.info("a session of tenant `%s` was not summarised: %s", job.principal.tenant, error)
            except Exception:
                logger.exception("a session was not summarised")
            finally:
                self._waiting.discard(job.head.ref)
                self._queue.task_done()
