"""What is kept, for how long, and how sure the cache must be before it answers."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Seconds = Annotated[float, Field(gt=0, le=31_536_000)]
_MB = 1_000_000


class ChecksConfig(BaseModel):
    """Hits that are asked afresh in the background, to learn how often the cache is wrong."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = Field(
        default=True, description="Off: nothing is checked, so `max_error_rate` cannot be kept to."
    )
    rate: float = Field(default=0.05, gt=0, le=1, description="Share of sure semantic hits that are checked.")
    max_rate: float = Field(
        default=0.5, gt=0, le=1, description="Share of unsure ones, of entries that were never checked."
    )
    per_minute: int = Field(
        default=30, ge=1, le=100_000, description="Most checks a minute in one worker, each a model call."
    )
    max_running: int = Field(default=1, ge=1, le=1_000, description="Most checks at the same time.")
    wait_s: float = Field(
        default=0.25,
        ge=0,
        le=60,
        description="How long a check waits for more hits of its entry, and then at most as long again for a "
        "moment without calls, in seconds.",
    )
    similarity: float = Field(
        default=0.75, ge=0, le=1, description="Two answers this similar (cosine) say the same."
    )
    window: int = Field(
        default=2_000, ge=50, le=100_000, description="Checks per tenant that are remembered."
    )

    @model_validator(mode="after")
    def _more_for_the_unsure(self) -> Self:
        if self.max_rate < self.rate:
            raise ValueError("`max_rate` must be at least `rate`")
        return self


class CacheConfig(BaseModel):
    """Answers kept to be given again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = Field(default=True, description="Off: nothing is read or kept.")
    on_failure: Literal["open", "closed"] = Field(
        default="open",
        description="When the store or the encoder cannot be used: `open` asks the model, `closed` answers "
        "503.",
    )
    semantic: bool = Field(
        default=True, description="Also answer questions that mean the same, not only equal requests."
    )
    threshold: float = Field(
        default=0.85,
        ge=0,
        le=1,
        description="Least cosine similarity of two questions before the verifier looks at them.",
    )
    min_threshold: float = Field(
        default=0.75, ge=0, le=1, description="Lowest `cache.threshold` that a request may ask for."
    )
    min_confidence: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Least probability, by the verifier and what was learned since, that two questions have "
        "the same answer. Default: the verifier's own.",
    )
    max_error_rate: float = Field(
        default=0.02,
        gt=0,
        le=0.5,
        description="Share of semantic hits that may be wrong; checks raise the bar when there are more.",
    )
    candidates: int = Field(default=8, ge=1, le=100, description="Nearest questions that are verified.")
    max_question_chars: int = Field(
        default=2_000,
        ge=1,
        le=100_000,
        description="Longest question that may find one that means the same; longer ones must be equal.",
    )
    sessions: Literal["off", "same_session"] = Field(
        default="same_session",
        description="Calls with a `session_id`: never kept, or found again in the same session only.",
    )
    personal: Literal["bypass", "exact"] = Field(
        default="bypass",
        description="Questions about the asker (`my order`): never kept, or found by the same request of the "
        "same `user` only.",
    )
    max_temperature: float = Field(
        default=1.0,
        ge=0,
        le=2,
        description="Calls with a higher `temperature` want another answer every time and are passed by.",
    )
    ttl_s: Seconds = Field(default=86_400.0, description="How long an answer is kept, in seconds.")
    ttl_by_model: dict[str, Seconds] = Field(
        default={}, description="Other times for some models, by shell-style pattern; the first that fits."
    )
    ttl_by_tenant: dict[str, Seconds] = Field(
        default={}, description="Other times for some tenants, by id; the shorter of both counts."
    )
    max_ttl_s: Seconds = Field(
        default=2_592_000.0, description="Longest `cache.ttl_s` that a request may ask for, in seconds."
    )
    max_body_bytes: int = Field(
        default=200_000, ge=100, le=20_000_000, description="Largest answer that is kept."
    )
    max_entries_per_tenant: int = Field(
        default=100_000, ge=1, le=100_000_000, description="Beyond it those unused for longest go."
    )
    max_bytes_per_tenant: int = Field(
        default=500 * _MB, ge=10_000, description="Beyond it those unused for longest go."
    )
    memory_bytes: int = Field(
        default=32 * _MB, ge=0, description="Answers held in each worker's memory, in bytes."
    )
    encodings_bytes: int = Field(
        default=16 * _MB, ge=0, description="Encoded questions held in each worker's memory, in bytes."
    )
    flight_wait_s: float = Field(
        default=60.0,
        ge=0,
        le=3_600,
        description="How long a call waits for an equal one that runs, in seconds; then it asks by itself.",
    )
    max_followers: int = Field(
        default=1_000, ge=1, le=100_000, description="Most calls that wait for one; others ask by themselves."
    )
    queue_size: int = Field(
        default=1_000, ge=1, le=100_000, description="Answers that may wait to be written; others are lost."
    )
    follow_s: float = Field(
        default=1.0, gt=0, le=60, description="Pause between two looks for the other workers' changes, in s."
    )
    log_size: int = Field(
        default=100_000,
        ge=100,
        le=10_000_000,
        description="Changes that are remembered; a worker that missed more reads all entries anew.",
    )
    snapshot_s: float = Field(
        default=300.0, gt=0, le=86_400, description="Pause between two snapshots of the index, in seconds."
    )
    trim_interval_s: float = Field(
        default=30.0, gt=0, le=86_400, description="Pause between two clearings, in seconds."
    )
    trim_batch: int = Field(
        default=1_000, ge=1, le=100_000, description="Entries dropped in one transaction."
    )
    checks: ChecksConfig = ChecksConfig()

    @model_validator(mode="after")
    def _bounds_in_order(self) -> Self:
        if self.threshold < self.min_threshold:
            raise ValueError("`threshold` must be at least `min_threshold`")
        return self
