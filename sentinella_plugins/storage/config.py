"""Where state lives."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, SecretStr


class StorageConfig(BaseModel):
    """Where state lives. URLs may carry passwords, so they are secrets."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    database_url: SecretStr | None = Field(
        default=None,
        description="`sqlite:///path` or `postgresql://user:password@host/name`. Default: `DATABASE_URL`, "
        "else a SQLite file in the data directory.",
    )
    redis_url: SecretStr | None = Field(
        default=None,
        description="`redis://host:6379/0` (or `rediss://`, `unix://`): counters of limits, kept answers "
        "and copies of histories live there, so that several machines share them. Default: `REDIS_URL`, else "
        "the SQL database has them.",
    )
    pool_size: int = Field(
        default=5, ge=1, le=100, description="Reader connections per worker to the SQL database."
    )
    redis_pool_size: int = Field(default=50, ge=1, le=1000, description="Connections per worker to Redis.")
    timeout_s: float = Field(
        default=5.0,
        gt=0,
        le=60,
        description="Longest wait for a lock, a connection or an answer of a store, in seconds.",
    )
    queue_size: int = Field(
        default=10_000,
        ge=10,
        description="Writes that may wait in one worker; beyond it calls are refused with 503.",
    )
