"""What is remembered of a conversation, how much of it is shown to a model, and for how long it is kept."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class RecallConfig(BaseModel):
    """Long-term recall: what a user said in earlier sessions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = Field(
        default=False,
        description="Recall what the body's `user` said in earlier sessions. Every user message is then kept "
        "with its vector.",
    )
    facts: int = Field(default=3, ge=1, le=20, description="Most statements that are recalled for a call.")
    threshold: float = Field(
        default=0.5, ge=-1, le=1, description="Least cosine similarity of a statement that is recalled."
    )
    max_facts: int = Field(
        default=500,
        ge=1,
        le=10_000,
        description="Statements of a user that are searched, and kept: the latest ones.",
    )
    max_chars: int = Field(
        default=500, ge=20, le=4_000, description="Longest statement, in characters; longer ones are cut."
    )
    max_waiting: int = Field(
        default=1_000,
        ge=1,
        le=100_000,
        description="Statements that wait for their vector in one worker; beyond it they are not kept.",
    )


class SharedConfig(BaseModel):
    """Histories that all workers and machines share, in the Redis of `storage.redis_url`; without one each
    worker has its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = Field(
        default=True, description="Keep histories in Redis when there is one, beside the database."
    )
    ttl_s: float = Field(
        default=900.0, gt=0, le=86_400, description="How long a history stays there, in seconds."
    )
    max_tail_bytes: int = Field(
        default=256_000,
        ge=1,
        le=10_000_000,
        description="Largest history that is kept there, in bytes; larger ones are read from the database.",
    )
    max_bytes: int = Field(
        default=256_000_000,
        ge=1,
        le=1_000_000_000_000,
        description="Bytes of all histories there; beyond it those that end first make room.",
    )
    timeout_s: float = Field(
        default=0.25,
        gt=0,
        le=60,
        description="Longest wait for Redis, in seconds; then the database is read.",
    )
    max_waiting: int = Field(
        default=100,
        ge=1,
        le=10_000,
        description="Histories on their way to Redis in one worker; those beyond are not written.",
    )


class MemoryConfig(BaseModel):
    """Conversations by `session_id`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    on_failure: Literal["open", "closed"] = Field(
        default="open",
        description="When the database cannot be reached: `open` answers without history and saves nothing, "
        "`closed` refuses calls with a `session_id` with 503.",
    )
    scope: Literal["tenant", "key"] = Field(
        default="tenant",
        description="Whose a session is: all keys of a tenant share sessions, or each key has its own.",
    )
    max_history_tokens: int = Field(
        default=32_000,
        ge=0,
        le=10_000_000,
        description="Most tokens of history and summary put before a new turn; the model's context window "
        "may allow less.",
    )
    reserve_output_tokens: int = Field(
        default=1_024,
        ge=0,
        le=1_000_000,
        description="Tokens of the context window left for the answer of a call without `max_tokens`.",
    )
    max_loaded_messages: int = Field(
        default=400,
        ge=10,
        le=10_000,
        description="Most messages of a session that are read for a call, the latest ones.",
    )
    summary: Literal["model", "extractive", "off"] = Field(
        default="model",
        description="Who summarises old messages: a model, and where that fails sentences are picked out; "
        "always sentences picked out; nobody.",
    )
    summary_model: str = Field(
        default="auto", min_length=1, max_length=256, description="The model that summarises."
    )
    summarise_after: int = Field(
        default=50,
        ge=2,
        le=10_000,
        description="Beyond this many messages that no summary covers, the old ones are summarised.",
    )
    keep_last: int = Field(
        default=10, ge=0, le=10_000, description="Latest messages that are kept verbatim when summarising."
    )
    summary_tokens: int = Field(
        default=500, ge=16, le=10_000, description="Longest summary, in tokens (4 characters each at most)."
    )
    summary_input_chars: int = Field(
        default=40_000,
        ge=1_000,
        le=1_000_000,
        description="Most characters of messages that are summarised at once; the rest follows in turn.",
    )
    summary_timeout_s: float = Field(
        default=60.0, gt=0, le=600, description="Longest wait for a summary of a model, in seconds."
    )
    max_waiting_summaries: int = Field(
        default=1_000,
        ge=1,
        le=100_000,
        description="Sessions that wait for their summary in one worker; others come with their next turn.",
    )
    summaries_at_once: int = Field(
        default=2, ge=1, le=100, description="Summaries that one worker makes at the same time."
    )
    wait_s: float = Field(
        default=30.0,
        ge=0,
        le=600,
        description="How long a call waits for the running turn of its session, in seconds; then 409.",
    )
    max_waiting: int = Field(
        default=100,
        ge=0,
        le=10_000,
        description="Calls of one session that wait in one worker; those beyond get 409 at once.",
    )
    poll_s: float = Field(
        default=0.02,
        gt=0,
        le=5,
        description="First pause between two looks at a turn in another worker, in seconds; it doubles up to "
        "a quarter of a second.",
    )
    heartbeat_s: float = Field(
        default=5.0, gt=0, le=60, description="How often a worker says that its turns still run, in seconds."
    )
    lease_s: float = Field(
        default=20.0,
        gt=0,
        le=600,
        description="How long the session of a silent worker's turn stays taken, in seconds.",
    )
    max_unsaved: int = Field(
        default=1_000,
        ge=0,
        le=100_000,
        description="Turns that one worker keeps while the database cannot be reached; they are saved after.",
    )
    max_sessions: int = Field(
        default=100_000,
        ge=1,
        le=10_000_000,
        description="Most sessions of a tenant, known to some seconds; beyond it new ones get 409.",
    )
    max_messages: int = Field(
        default=20_000,
        ge=2,
        le=1_000_000,
        description="Most messages of a session. Beyond it the oldest summarised ones are deleted; if there "
        "are none, 409.",
    )
    max_session_bytes: int = Field(
        default=50_000_000,
        ge=1_000,
        le=10_000_000_000,
        description="Most bytes of a session's messages; beyond it as with `max_messages`.",
    )
    max_message_bytes: int = Field(
        default=8_000_000, ge=100, le=100_000_000, description="Largest message of a turn; beyond it 413."
    )
    retention_days: float | None = Field(
        default=30.0,
        gt=0,
        le=36_500,
        description="Sessions without a turn for this many days are deleted; `null` keeps them.",
    )
    trim_interval_s: float = Field(
        default=60.0, gt=0, le=86_400, description="Pause between two deletions of old sessions, in seconds."
    )
    trim_batch: int = Field(
        default=100, ge=1, le=10_000, description="Old sessions deleted in one transaction."
    )
    cache_sessions: int = Field(
        default=1_000, ge=0, le=1_000_000, description="Sessions whose history a worker remembers."
    )
    cache_bytes: int = Field(
        default=16_000_000, ge=0, le=10_000_000_000, description="Bytes of history that a worker remembers."
    )
    shared: SharedConfig = SharedConfig()
    recall: RecallConfig = RecallConfig()

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.lease_s < 2 * self.heartbeat_s:
            raise ValueError("`lease_s` must be at least twice `heartbeat_s`")
        if self.keep_last >= self.summarise_after:
            raise ValueError("`keep_last` must be less than `summarise_after`")
        return self
