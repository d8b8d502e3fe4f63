"""The corridor: every call walks in through the same stages and its outcome walks back out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from sentinella_plugins.kernel.call import Call, Outcome, Reply
from sentinella_plugins.kernel.errors import SentinellaError

logger = logging.getLogger(__name__)


class Inbound(Protocol):
    async def enter(self, call: Call) -> Call | Reply: ...


class Outbound(Protocol):
    async def leave(self, call: Call, outcome: Outcome) -> None: ...


@dataclass(frozen=True)
class Pipeline:
    """`gate` needs a request's headers only, so a stranger's body is never read; `inbound` needs the body
    too. On the way out `outbound` come one by one and wait for no store; then come all `books` at once.
    """

    gate: Sequence[Inbound]
    inbound: Sequence[Inbound]
    outbound: Sequence[Outbound]
    books: Sequence[Outbound]

    async def admit(self, call: Call) -> Call:
        call, _ = await self._walk(call, self.gate)
        return call

    async def enter(self, call: Call) -> tuple[Call, Reply | None]:
        return await self._walk(call, self.inbound)

    async def _walk(self, call: Call, stages: Sequence[Inbound]) -> tuple[Call, Reply | None]:
        """A stage that raises ends the walk, and what the call held by then is settled here."""
        try:
            for stage in stages:
                result = await stage.enter(call)
                if isinstance(result, Reply):
                    return call, result
                call = result
        except Exception as error:
            await self.refuse(call, error if isinstance(error, SentinellaError) else SentinellaError())
            raise
        except asyncio.CancelledError:
            await self.leave(call, Outcome(status="cancelled"))
            raise
        return call, None

    async def leave(self, call: Call, outcome: Outcome) -> None:
        """Walks the outcome back. Exactly once for every call that was let in; survives the client's
        disconnect."""
        await asyncio.shield(asyncio.ensure_future(self._settle(call, outcome)))

    async def refuse(self, call: Call, error: SentinellaError) -> None:
        """For a call that no model was asked for: thousands of them a second must be cheap."""
        for stage in (*self.outbound, *self.books):
            await self._leave(stage, call, Outcome(status="refused", error=error))

    async def _settle(self, call: Call, outcome: Outcome) -> None:
        """The books at once, in their order: what they write comes into one transaction where they share a
        database."""
        for stage in self.outbound:
            await self._leave(stage, call, outcome)
        await asyncio.gather(*(self._leave(stage, call, outcome) for stage in self.books))

    async def _leave(self, stage: Outbound, call: Call, outcome: Outcome) -> None:
        try:
            await stage.leave(call, outcome)
        except Exception:
            # The client's answer must not depend on one room's books: the others settle theirs.
            logger.exception("`%s` failed while settling call `%s`", type(stage).__name__, call.id)
