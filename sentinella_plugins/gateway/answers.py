"""What LiteLLM gives back → what the client gets, and what the books need."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sentinella_plugins.kernel.call import Attempt, Call, Outcome, Usage
from sentinella_plugins.kernel.errors import SentinellaError
from sentinella_plugins.kernel.money import FREE, Nano, usd_float
from sentinella_plugins.kernel.standing import Standing
from sentinella_plugins.router.service import Choice

_NOT_OURS = ("provider_specific_fields",)


@dataclass
class Progress:
    """What is known of a call while it runs. Times are `perf_counter` seconds."""

    started: float
    model: str = ""
    provider: str = ""
    usage: Usage | None = None
    cost: Nano = FREE
    asked: float | None = None
    first_token: float | None = None
    left: bool = False
    text: list[str] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)

    def ms(self, at: float) -> float:
        return (at - self.started) * 1000

    def outcome(
        self, status: Any, now: float, error: SentinellaError | None = None, body: Any = None
    ) -> Outcome:
        return Outcome(
            status=status,
            model=self.model,
            provider=self.provider,
            usage=self.usage or Usage(),
            cost=self.cost,
            latency_ms=self.ms(now),
            first_token_ms=None if self.first_token is None else self.ms(self.first_token),
            attempts=tuple(self.attempts),
            error=error,
            body=body,
        )


def usage_of(given: Any) -> Usage:
    """From LiteLLM's `Usage`, whose details differ from provider to provider."""
    prompt_details = getattr(given, "prompt_tokens_details", None)
    completion_details = getattr(given, "completion_tokens_details", None)
    return Usage(
        prompt=getattr(given, "prompt_tokens", 0) or 0,
        completion=getattr(given, "completion_tokens", 0) or 0,
        cached=getattr(prompt_details, "cached_tokens", 0) or 0,
        reasoning=getattr(completion_details, "reasoning_tokens", 0) or 0,
    )


def completion_body(response: Any, model: str) -> dict[str, Any]:
    """OpenAI's `chat.completion`, `content` and `refusal` present even when null, without LiteLLM's
    additions."""
    body: dict[str, Any] = response.model_dump(
        exclude_none=True, exclude={"choices": {"__all__": {"provider_specific_fields"}}}
    )
    body["model"] = model
    for choice in body.get("choices") or ():
        message = choice.get("message") or {}
        for name in _NOT_OURS:
            message.pop(name, None)
        message.setdefault("content", None)
        message.setdefault("refusal", None)
        choice.setdefault("logprobs", None)
    return body


def additions(call: Call, outcome: Outcome) -> dict[str, Any]:
    """The response fields that Sentinella adds."""
    choice, standing = call.note(Choice), call.note(Standing)
    return {
        "latency_ms": round(outcome.latency_ms, 3),
        "cached": outcome.cached,
        "sentinella": {
            "request_id": call.id,
            "tenant": call.principal.tenant,
            "model": outcome.model,
            "provider": outcome.provider,
            "routing": choice.public() if choice else {**Choice(call.model, "requested", ()).public()},
            "cache": {
                "status": "hit" if outcome.cached else "bypass",
                "kind": None,
                "similarity": None,
                "entry_id": None,
            },
            "cost_usd": usd_float(outcome.cost),
            "attempts": [attempt.public() for attempt in outcome.attempts],
            "budget_left": dict(standing.budget_left) if standing else {},
        },
    }


def headers(call: Call, *, model: str = "", cost: Nano | None = FREE) -> dict[str, str]:
    """On every answer. A stream's cost is known only after its last token: its header says `pending`."""
    standing = call.note(Standing)
    return {
        "x-request-id": call.id,
        "x-sentinella-cache": "bypass",
        "x-sentinella-model": model,
        "x-sentinella-cost-usd": "pending"
        if cost is None
        else f"{usd_float(cost):.9f}".rstrip("0").rstrip("."),
        **(standing.headers() if standing else {}),
    }
