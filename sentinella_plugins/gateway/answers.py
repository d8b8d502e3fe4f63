"""What comes back from a model → what the client gets, and what the books need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sentinella_plugins.kernel.call import Attempt, CacheMark, Call, Choice, Outcome, Status, Usage
from sentinella_plugins.kernel.errors import SentinellaError
from sentinella_plugins.kernel.money import FREE, Nano, usd_float
from sentinella_plugins.kernel.standing import Standing
from sentinella_plugins.tools.bounds import Loop

NOTHING = Usage()


@dataclass
class Progress:
    """What is known of a call while it runs. Times are `perf_counter` seconds."""

    started: float
    model: str = ""
    provider: str = ""
    usage: Usage = NOTHING
    cost: Nano = FREE
    first_token: float | None = None
    attempts: list[Attempt] = field(default_factory=list)
    left: bool = False

    def spend(self, attempt: Attempt, usage: Usage) -> None:
        """Adds one attempt and what it used."""
        self.attempts.append(attempt)
        self.cost = Nano(self.cost + attempt.cost)
        self.usage = Usage(
            prompt=self.usage.prompt + usage.prompt,
            completion=self.usage.completion + usage.completion,
            cached=self.usage.cached + usage.cached,
            reasoning=self.usage.reasoning + usage.reasoning,
        )

    def outcome(
        self, status: Status, now: float, error: SentinellaError | None = None, body: Any = None
    ) -> Outcome:
        return Outcome(
            status=status,
            model=self.model,
            provider=self.provider,
            usage=self.usage,
            cost=self.cost,
            latency_ms=(now - self.started) * 1000,
            first_token_ms=None if self.first_token is None else (self.first_token - self.started) * 1000,
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


def usage_of_json(given: Any) -> Usage:
    """From OpenAI's `usage` object; absent or strange numbers count as none."""
    usage = given if isinstance(given, Mapping) else {}
    prompt_details, completion_details = (
        usage.get("prompt_tokens_details"),
        usage.get("completion_tokens_details"),
    )
    return Usage(
        prompt=_count(usage, "prompt_tokens"),
        completion=_count(usage, "completion_tokens"),
        cached=_count(prompt_details, "cached_tokens") or _count(usage, "prompt_cache_hit_tokens"),
        reasoning=_count(completion_details, "reasoning_tokens"),
    )


def _count(given: Any, name: str) -> int:
    value = given.get(name) if isinstance(given, Mapping) else None
    return value if isinstance(value, int) and value > 0 else 0


def completion_body(response: Any, model: str) -> dict[str, Any]:
    """OpenAI's `chat.completion`, `content` and `refusal` present even when null, without LiteLLM's
    additions."""
    body: dict[str, Any] = response.model_dump(exclude_none=True)
    body["model"] = model
    for choice in body.get("choices") or ():
        choice.pop("provider_specific_fields", None)
        message = choice.get("message") or {}
        message.pop("provider_specific_fields", None)
        message.setdefault("content", None)
        message.setdefault("refusal", None)
        choice.setdefault("logprobs", None)
    return body


def usage_json(usage: Usage) -> dict[str, Any]:
    """OpenAI's `usage` object."""
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.total,
        "prompt_tokens_details": {"cached_tokens": usage.cached},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    }


def additions(call: Call, outcome: Outcome, loop: Loop | None = None) -> dict[str, Any]:
    """The response fields that Sentinella adds; `loop` tells of the tools that it ran."""
    choice, standing = call.note(Choice) or Choice(call.model, "requested", ()), call.note(Standing)
    return {
        "latency_ms": round(outcome.latency_ms, 3),
        "cached": outcome.cached,
        "sentinella": {
            "request_id": call.id,
            "tenant": call.principal.tenant,
            "model": outcome.model,
            "provider": outcome.provider,
            "routing": choice.public(),
            "cache": _mark(call, outcome.cached).public(),
            "cost_usd": usd_float(outcome.cost),
            "attempts": [attempt.public() for attempt in outcome.attempts],
            "budget_left": dict(standing.budget_left) if standing else {},
            **({"tools": loop.public()} if loop is not None else {}),
        },
    }


def headers(call: Call, *, model: str = "", cost: Nano | None = FREE, cached: bool = False) -> dict[str, str]:
    """On every answer. A stream's cost is known only after its last token: its header says `pending`."""
    standing = call.note(Standing)
    return {
        "x-request-id": call.id,
        "x-sentinella-cache": _mark(call, cached).status,
        "x-sentinella-model": model,
        "x-sentinella-cost-usd": "pending" if cost is None else _plain(cost),
        **(standing.headers() if standing else {}),
    }


def _mark(call: Call, cached: bool) -> CacheMark:
    """A replayed answer was not the cache's, but it did come without a model."""
    return call.note(CacheMark) or CacheMark(status="hit" if cached else "bypass")


def _plain(cost: Nano) -> str:
    return f"{usd_float(cost):.9f}".rstrip("0").rstrip(".")
