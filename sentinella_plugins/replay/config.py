"""How long answers are kept for a repeated key, and which calls share one answer."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class ReplayConfig(BaseModel):
    """The same call twice: `Idempotency-Key` and coalescing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    on_failure: Literal["open", "closed"] = Field(
        default="open",
        description="When the database cannot be reached: `open` answers without idempotency, `closed` "
        "refuses calls that carry an `Idempotency-Key` with 503.",
    )
    keep_s: float = Field(
        default=86_400.0,
        gt=0,
        le=31_536_000,
        description="How long an answer is kept for its `Idempotency-Key`, in seconds.",
    )
    max_key_length: int = Field(
        default=255,
        ge=1,
        le=8_192,
        description="Longest `Idempotency-Key`; a longer one is refused with 400.",
    )
    max_body_bytes: int = Field(
        default=1_000_000,
        ge=0,
        le=100_000_000,
        description="Largest answer that is kept; of a larger one the key only keeps a second call from "
        "running beside the first.",
    )
    wait_s: float = Field(
        default=30.0,
        ge=0,
        le=600,
        description="How long a call waits for the running one with its `Idempotency-Key`, in seconds; then "
        "409.",
    )
    poll_s: float = Field(
        default=0.1,
        gt=0,
        le=10,
        description="First pause between two looks for the answer of another worker, in seconds; it doubles "
        "up to one second.",
    )
    heartbeat_s: float = Field(
        default=10.0, gt=0, le=60, description="How often a worker says that its calls still run, in seconds."
    )
    lease_s: float = Field(
        default=30.0,
        gt=0,
        le=600,
        description="How long the key of a silent worker's call stays taken, in seconds.",
    )
    coalesce: Literal["off", "deterministic", "always"] = Field(
        default="deterministic",
        description="Which identical chat calls of a tenant share one answer while the first of them runs: "
        "none; those with temperature 0 or a seed, one choice, no tools and no session; or all. Streams "
        "never do.",
    )
    coalesce_wait_s: float = Field(
        default=600.0,
        gt=0,
        le=3_600,
        description="How long a call waits for the identical one before it asks by itself, in seconds.",
    )
    max_followers: int = Field(
        default=1_000,
        ge=1,
        le=100_000,
        description="Most calls that wait for one; those beyond ask by themselves.",
    )
    trim_interval_s: float = Field(
        default=60.0, gt=0, le=86_400, description="Pause between two deletions of old answers, in seconds."
    )
    trim_batch: int = Field(
        default=1_000, ge=1, le=100_000, description="Old answers deleted in one transaction."
    )

    @model_validator(mode="after")
    def _lease_outlives_a_missed_heartbeat(self) -> Self:
        if self.lease_s < 2 * self.heartbeat_s:
            raise ValueError("`lease_s` must be at least twice `heartbeat_s`")
        return self
