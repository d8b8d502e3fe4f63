"""Asks a second model in the background and compares its answer with the one that was given."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np

from sentinella_plugins.kernel.access import matches
from sentinella_plugins.kernel.asking import Ask, Question
from sentinella_plugins.kernel.call import Call, Json, Outcome
from sentinella_plugins.kernel.catalogue import Catalogue
from sentinella_plugins.kernel.clock import Clock
from sentinella_plugins.kernel.errors import SentinellaError
from sentinella_plugins.router.config import ShadowConfig
from sentinella_plugins.router.exploration import chance
from sentinella_plugins.router.models import Features
from sentinella_plugins.router.tallies import Tallies, TallyKey
from sentinella_plugins.router.teacher import Teacher
from sentinella_plugins.vectors.models import Encoder

logger = logging.getLogger(__name__)
CHAT = "/v1/chat/completions"
SPENT = "spent_usd"
_UNLIKE, _ALIKE = 0.4, 0.9
_LEFT_OUT = ("stream", "stream_options")


@dataclass(frozen=True, slots=True)
class Shadow:
    """Whole answers in words only: a stream's or a tool call's is not compared. The day's spending is shared
    between workers every second or so, and may run over by what runs at that moment."""

    config: ShadowConfig
    catalogue: Catalogue
    tallies: Tallies
    teacher: Teacher
    clock: Clock
    ask: Ask | None = None
    encoder: Encoder | None = None
    _running: set[asyncio.Task[None]] = field(default_factory=set)

    def consider(self, call: Call, outcome: Outcome, features: Features | None) -> None:
        """Starts a comparison, or not."""
        if self.ask is None or self.encoder is None or not self._wanted(call, outcome):
            return
        model = self.config.model or ""
        expected = self.catalogue.cost(model, outcome.usage) / 1e9
        if self._spent() + expected * (len(self._running) + 1) > self.config.budget_usd_per_day:
            return
        task = asyncio.create_task(self._compare(self.ask, self.encoder, call, outcome, features))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def close(self) -> None:
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def idle(self) -> None:
        """Waits for what runs."""
        await asyncio.gather(*self._running, return_exceptions=True)

    def _wanted(self, call: Call, outcome: Outcome) -> bool:
        config = self.config
        return (
            config.model is not None
            and call.route == CHAT
            and outcome.status == "success"
            and outcome.model not in (config.model, "")
            and call.model != config.model
            and bool(answer_text(outcome.body))
            and len(self._running) < config.max_concurrency
            and matches(config.tenants, call.principal.tenant)
            and chance("shadow", call.id) < config.share
        )

    async def _compare(
        self, ask: Ask, encoder: Encoder, call: Call, outcome: Outcome, features: Features | None
    ) -> None:
        model = self.config.model or ""
        body = {name: value for name, value in call.body.items() if name not in _LEFT_OUT}
        try:
            second = await ask(Question(purpose="shadow", principal=call.principal, model=model, body=body))
            self.tallies.add(self._spending(), second.cost / 1e9)
            text = answer_text(second.body)
            if not text:
                return
            one, other = await encoder.encode([answer_text(outcome.body), text])
            agreement = agreed(float(np.dot(one.vector, other.vector)))
            self.tallies.add(
                ("shadow", f"{outcome.model}|{model}", features.task if features else ""), agreement
            )
            if self.config.learn and features is not None:
                key, tenant = f"shadow:{call.id}", call.principal.tenant
                await self.teacher.observe(
                    [self.teacher.observation(tenant, key, model, features, "shadow", agreement)]
                )
        except SentinellaError as error:
            logger.info("the shadow of call `%s` was not compared: %s", call.id, error)
        except Exception:
            logger.exception("the shadow of call `%s` failed", call.id)

    def _spent(self) -> float:
        return self.tallies.get(self._spending()).total

    def _spending(self) -> TallyKey:
        day = datetime.fromtimestamp(self.clock.now(), UTC).date().isoformat()
        return ("shadow", SPENT, day)


def agreed(cosine: float) -> float:
    """0 for answers that have nothing to do with each other, 1 for those that say the same."""
    return min(1.0, max(0.0, (cosine - _UNLIKE) / (_ALIKE - _UNLIKE)))


def answer_text(body: Json | None) -> str:
    choices: Any = (body or {}).get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    message = first.get("message") if isinstance(first, Mapping) else None
    content = message.get("content") if isinstance(message, Mapping) else None
    return content if isinstance(content, str) else ""
