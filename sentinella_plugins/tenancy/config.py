"""Tenants and their hard limits."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class TenancyConfig(BaseModel):
    """How limits are kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    on_failure: Literal["open", "closed"] = Field(
        default="closed",
        description="When the counters cannot be reached: `closed` refuses with 503, `open` lets calls go.",
    )
    cache_ttl_s: float = Field(
        default=0.5,
        ge=0,
        le=60,
        description="How long a worker trusts what it read about a tenant, in seconds.",
    )
    cache_size: int = Field(
        default=10_000, ge=1, le=10_000_000, description="Tenants that a worker remembers."
    )
    refusal_memo_s: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="How long a worker refuses from memory after the store said that a limit is reached, in "
        "seconds; 0 asks the store every time.",
    )
    default_completion_tokens: int = Field(
        default=512,
        ge=1,
        le=10_000_000,
        description="Tokens reserved for the answer of a model that never answered yet.",
    )
    learned_quantile: float = Field(
        default=0.9,
        ge=0.5,
        le=0.99,
        description="Share of a model's answers that its learned typical length covers.",
    )
    learned_models: int = Field(
        default=1_000, ge=1, le=1_000_000, description="Models whose typical length a worker remembers."
    )
    heartbeat_s: float = Field(
        default=10.0, gt=0, le=15, description="How often a worker says that it is alive, in seconds."
    )
    lease_s: float = Field(
        default=30.0,
        ge=3,
        le=45,
        description="How long a silent worker counts as alive, in seconds; then its reservations end.",
    )

    @model_validator(mode="after")
    def _lease_outlives_a_missed_heartbeat(self) -> Self:
        if self.lease_s < 2 * self.heartbeat_s:
            raise ValueError("`lease_s` must be at least twice `heartbeat_s`")
        return self
