"""How long the ledger is kept and where it waits during an outage."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class AccountingConfig(BaseModel):
    """The ledger of calls."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    keep_days: int | None = Field(
        default=400,
        ge=1,
        le=36_500,
        description="Days after which ledger lines are deleted; null keeps them for ever.",
    )
    trim_batch: int = Field(
        default=1_000, ge=1, le=100_000, description="Old ledger lines deleted in one transaction."
    )
    trim_interval_s: float = Field(
        default=3_600.0, gt=0, description="Pause between two deletions of old lines, in seconds."
    )
    spool_max_bytes: int = Field(
        default=268_435_456,
        ge=0,
        description="Most bytes of lines that wait on disk while the database is down; "
        "beyond it lines go to the log only.",
    )
    replay_interval_s: float = Field(
        default=1.0, gt=0, le=3_600, description="Pause between two looks for waiting lines, in seconds."
    )
    max_usage_rows: int = Field(
        default=50_000, ge=1, description="Most rows of one usage report; a longer one is refused with 400."
    )
