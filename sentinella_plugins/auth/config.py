"""Who calls."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class AuthConfig(BaseModel):
    """How keys are looked up."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cache_ttl_s: float = Field(
        default=0.5,
        ge=0,
        le=0.9,
        description="How long a worker trusts what it read about a key, in seconds; then a revocation holds.",
    )
    cache_size: int = Field(
        default=10_000,
        ge=1,
        le=10_000_000,
        description="Keys that a worker remembers; as many unknown ones besides.",
    )
    on_failure: Literal["open", "closed"] = Field(
        default="closed",
        description="When the database is down: `closed` refuses with 503, `open` trusts keys seen before.",
    )
