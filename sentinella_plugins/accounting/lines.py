"""From what happened to a line that every database accepts."""

from __future__ import annotations

import math

from sentinella_plugins.accounting.models import LedgerLine
from sentinella_plugins.kernel.call import Call, Outcome
from sentinella_plugins.kernel.events import CallAbandoned
from sentinella_plugins.kernel.money import Nano

_MOST = 2**53


def line_of(call: Call, outcome: Outcome) -> LedgerLine | None:
    """`None` for calls that were turned away, or left before it was known whose they are."""
    if outcome.status == "refused" or not call.principal.tenant:
        return None
    usage = outcome.usage
    return LedgerLine(
        request_id=clean(call.id, 64),
        at=seconds(call.received_at),
        tenant=clean(call.principal.tenant, 64),
        key_id=clean(call.principal.key_id, 64),
        route=clean(call.route, 64),
        requested_model=clean(call.requested or call.model, 256),
        model=clean(outcome.model or call.model, 256),
        provider=clean(outcome.provider, 64),
        status=outcome.status,
        error_code=clean(outcome.error.code, 64) if outcome.error else None,
        prompt_tokens=whole(usage.prompt),
        completion_tokens=whole(usage.completion),
        cached_tokens=whole(usage.cached),
        reasoning_tokens=whole(usage.reasoning),
        cost=Nano(whole(outcome.cost)),
        latency_ms=seconds(outcome.latency_ms),
        first_token_ms=None if outcome.first_token_ms is None else seconds(outcome.first_token_ms),
        stream=call.stream,
        cached=outcome.cached,
        attempts=tuple(attempt.public() for attempt in outcome.attempts),
        session_id=None if call.options.session_id is None else clean(call.options.session_id, 128),
    )


def abandoned(event: CallAbandoned) -> LedgerLine:
    return LedgerLine(
        request_id=clean(event.request_id, 64),
        at=seconds(event.started_at),
        tenant=clean(event.tenant, 64),
        key_id=clean(event.key_id, 64),
        route=clean(event.route, 64),
        requested_model=clean(event.model, 256),
        model=clean(event.model, 256),
        provider="",
        status="abandoned",
    )


def clean(text: str, length: int) -> str:
    """Cut to the column; PostgreSQL takes neither NUL nor lone surrogates."""
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode()
    return text.replace("\0", "\ufffd")[:length]


def whole(number: int) -> int:
    """Upstreams have sent negative and absurd counts: neither may break a sum."""
    return min(max(int(number), 0), _MOST)


def seconds(number: float) -> float:
    return float(number) if math.isfinite(number) else 0.0
