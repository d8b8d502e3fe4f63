"""What the end of a call tells about models."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sentinella_plugins.kernel.call import Attempt, Outcome
from sentinella_plugins.router.config import Metric
from sentinella_plugins.router.learning import Sample

# These say something about the request or the caller, nothing about the model.
_NOT_THE_MODEL = frozenset(
    {
        "upstream_rejected_request",
        "unsupported_parameter",
        "content_filter",
        "context_length_exceeded",
        "request_refused",
        "client_closed_request",
        "cancelled",
        "unavailable",
    }
)


def samples(
    outcome: Outcome, choices: int, foreseen: Callable[[str], float] = lambda _model: 0.0
) -> Iterator[tuple[str, Sample]]:
    """For every attempt that tells something, its model and how it did. `foreseen` is the length of an answer
    as it was predicted."""
    for attempt in outcome.attempts:
        if attempt.status == "success":
            yield attempt.model, _success(outcome, attempt, choices, foreseen(attempt.model))
        elif attempt.status == "error" and attempt.error not in _NOT_THE_MODEL:
            yield attempt.model, Sample(ok=False)


def measurements(outcome: Outcome) -> Iterator[tuple[Metric, float]]:
    """What experiments compare."""
    if outcome.status == "success":
        yield "success", 1.0
        yield "cost", outcome.cost / 1e9
        yield "latency", outcome.latency_ms
    elif outcome.status == "error" and (outcome.error is None or outcome.error.code not in _NOT_THE_MODEL):
        yield "success", 0.0


def _success(outcome: Outcome, attempt: Attempt, choices: int, foreseen: float) -> Sample:
    first = outcome.first_token_ms
    if first is not None:
        # Counted from the request: what was before this attempt is not this model's.
        first = max(0.0, attempt.ms - max(0.0, outcome.latency_ms - first))
    return Sample(
        ok=True,
        ms=attempt.ms,
        first_ms=first,
        tokens=outcome.usage.completion // max(1, choices),
        foreseen=foreseen,
        cost_usd=attempt.cost / 1e9,
    )
