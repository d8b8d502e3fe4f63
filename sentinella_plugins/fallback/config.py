"""How a call survives its upstreams."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Recovery = Literal["continue", "restart", "error"]
ModelName = Annotated[str, Field(min_length=1, max_length=256)]
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, le=1)]


class BreakerConfig(BaseModel):
    """When a model is left alone for a while."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    window_s: Seconds = Field(
        default=10.0, description="How far back a model's calls are looked at, in seconds."
    )
    min_calls: int = Field(
        default=20,
        ge=1,
        le=1_000_000,
        description="Calls in the window from which on shares count; a model with fewer is a quiet one.",
    )
    error_rate: Share = Field(
        default=0.5, description="Share of failed calls in the window that opens a breaker."
    )
    consecutive_failures: int = Field(
        default=5, ge=1, le=10_000, description="Failures in a row that open the breaker of a busy model."
    )
    quiet_failures: int = Field(
        default=2, ge=1, le=10_000, description="Failures in a row that open the breaker of a quiet model."
    )
    slow_call_s: Seconds = Field(default=30.0, description="A call that takes longer is a slow one.")
    slow_rate: Share = Field(
        default=0.8, description="Share of slow calls in the window that opens a breaker."
    )
    open_s: Seconds = Field(
        default=5.0,
        description="How long an open breaker keeps calls away before one tries again; doubles while "
        "these tries fail.",
    )
    open_max_s: Seconds = Field(default=60.0, description="Longest time between two tries.")
    probation_s: float = Field(
        default=120.0,
        ge=0,
        le=86_400,
        description="For how long after a breaker opened a single failure opens it again: a flapping model "
        "costs one failed attempt each time.",
    )
    half_open_probes: int = Field(
        default=1, ge=1, le=1_000, description="Calls that may try an ailing model at the same time."
    )

    @model_validator(mode="after")
    def _longest_is_not_shorter(self) -> Self:
        if self.open_max_s < self.open_s:
            raise ValueError("`open_max_s` must not be smaller than `open_s`")
        return self


class FallbackConfig(BaseModel):
    """Retries, other models, deadlines and circuit breakers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    connect_timeout_s: Seconds = Field(default=5.0, description="Longest wait for a connection, in seconds.")
    first_byte_s: Seconds = Field(
        default=8.0,
        description="Longest silence of a model before its first byte, in seconds; then the next model is "
        "asked.",
    )
    reasoning_first_byte_s: Seconds = Field(
        default=60.0, description="The same for models that may think before their first word, in seconds."
    )
    idle_s: Seconds = Field(
        default=15.0, description="Longest silence between two chunks of a stream, in seconds."
    )
    total_s: Seconds = Field(
        default=600.0, description="Longest time of one call, all attempts together, in seconds."
    )
    max_attempts: int = Field(default=4, ge=1, le=20, description="Most attempts of one call.")
    same_model_retries: int = Field(
        default=1,
        ge=0,
        le=10,
        description="How often one call asks the same model again, once no other healthy one is left.",
    )
    backoff_base_s: float = Field(
        default=0.25,
        ge=0,
        le=60,
        description="Longest wait before the first retry at the same model, in seconds; doubles with each. "
        "The wait is random between 0 and that.",
    )
    backoff_max_s: float = Field(default=2.0, ge=0, le=300, description="Ceiling of that doubling.")
    retry_after_max_s: float = Field(
        default=5.0,
        ge=0,
        le=600,
        description="Longest `Retry-After` of an upstream that is waited for, in seconds.",
    )
    wait_budget_s: float = Field(
        default=10.0,
        ge=0,
        le=600,
        description="Most that one call waits between its attempts, all together, in seconds.",
    )
    retry_budget: float = Field(
        default=0.2,
        ge=0,
        le=1,
        description="Retries at one model, as a share of its calls; a few are always allowed.",
    )
    chains: Mapping[ModelName, tuple[ModelName, ...]] = Field(
        default_factory=dict,
        description="For a model, which ones stand in for it, best first: `{gpt-4o: [claude-sonnet-5-5]}`. "
        "`*` stands for every model.",
    )
    automatic: bool = Field(
        default=True,
        description="After the chain, take other fitting models of the catalogue: another provider first, "
        "then the nearest price.",
    )
    stream_recovery: Recovery = Field(
        default="continue",
        description="When a stream breaks after text was sent: `continue` on another model from there, "
        "`restart` the answer, or end with an `error`.",
    )
    hedge_after_ms: float | None = Field(
        default=None,
        gt=0,
        le=600_000,
        description="Ask a second model as well when the first has not answered after so many "
        "milliseconds; both are paid. Not for streams.",
    )
    share_every_s: Seconds = Field(
        default=0.5, description="How often workers tell each other about their breakers, in seconds."
    )
    breaker: BreakerConfig = BreakerConfig()
