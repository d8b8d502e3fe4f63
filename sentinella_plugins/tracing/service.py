"""Counts and logs every call."""

from __future__ import annotations

import logging
from collections.abc import Callable

from sentinella_plugins.kernel.call import Call, Outcome
from sentinella_plugins.kernel.events import (
    BreakerClosed,
    BreakerOpened,
    Events,
    FellBack,
    PartFailed,
    ToolRan,
)
from sentinella_plugins.kernel.money import usd
from sentinella_plugins.tracing.config import TracingConfig
from sentinella_plugins.tracing.logs import FIELDS, request_id
from sentinella_plugins.tracing.metrics import Metrics

access = logging.getLogger("sentinella.access")


class TracingService:
    """`known` tells whether a model name is one of the gateway's own (`Catalogue.find(name) is not None`)."""

    def __init__(self, config: TracingConfig, known: Callable[[str], bool] | None = None) -> None:
        self._config = config
        self.metrics = Metrics(config.max_label_values, known)
        self._second = 0
        self._refused: set[tuple[str, str]] = set()

    def listen(self, events: Events) -> None:
        async def count(event: PartFailed) -> None:
            self.metrics.part_failed(event.part)

        async def fell_back(event: FellBack) -> None:
            self.metrics.fell_back(event.from_model, event.to_model, event.code)

        async def opened(event: BreakerOpened) -> None:
            self.metrics.breaker(event.model, is_open=True)

        async def closed(event: BreakerClosed) -> None:
            self.metrics.breaker(event.model, is_open=False)

        async def ran(event: ToolRan) -> None:
            self.metrics.tool_ran(event.kind, event.error or "success", event.ms / 1_000)

        events.subscribe(ToolRan, ran)
        events.subscribe(PartFailed, count)
        events.subscribe(FellBack, fell_back)
        events.subscribe(BreakerOpened, opened)
        events.subscribe(BreakerClosed, closed)

    def enter(self, call: Call) -> None:
        request_id.set(call.id)
        self.metrics.entered(call)

    def leave(self, call: Call, outcome: Outcome) -> None:
        self.metrics.left(call, outcome)
        if self._config.log_calls and access.isEnabledFor(logging.INFO) and self._worth_a_line(call, outcome):
            access.info("call", extra={FIELDS: self._fields(call, outcome)})

    def _worth_a_line(self, call: Call, outcome: Outcome) -> bool:
        """Who is refused could fill the log: strangers get no line, tenants one a second for each reason."""
        if outcome.status != "refused":
            return True
        second = int(call.received_at)
        if second != self._second:
            self._second = second
            self._refused.clear()
        reason = (call.principal.tenant, outcome.error.code if outcome.error else "")
        known = reason in self._refused
        self._refused.add(reason)
        return bool(call.principal.tenant) and not known

    def _fields(self, call: Call, outcome: Outcome) -> dict[str, object]:
        fields: dict[str, object] = {
            "request_id": call.id,
            "tenant": call.principal.tenant,
            "key": call.principal.key_id,
            "route": call.route,
            "model": outcome.model or call.model,
            "provider": outcome.provider,
            "status": outcome.status,
            "code": outcome.error.code if outcome.error else None,
            "ms": round(outcome.latency_ms, 1),
            "first_token_ms": None if outcome.first_token_ms is None else round(outcome.first_token_ms, 1),
            "prompt_tokens": outcome.usage.prompt,
            "completion_tokens": outcome.usage.completion,
            "cost_usd": usd(outcome.cost),
            "attempts": len(outcome.attempts),
            "stream": call.stream,
            "cached": outcome.cached,
            "session": call.options.session_id,
        }
        if self._config.log_content:
            fields |= {"request": call.body, "answer": outcome.body}
        return fields
