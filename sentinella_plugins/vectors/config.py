"""Which encoder turns text into vectors, and how vectors are kept and searched."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class IndexConfig(BaseModel):
    """The vectors that one worker holds in memory."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_entries: int = Field(
        default=1_000_000,
        ge=1,
        le=100_000_000,
        description="Most vectors of one worker, up to 1.5 kB each; then the largest tenant loses its "
        "oldest.",
    )
    flat_below: int = Field(
        default=4_096,
        ge=64,
        le=1_000_000,
        description="Up to this many vectors of one tenant and scope are compared one by one; of more, all "
        "but an eighth of this go into inverted lists.",
    )
    probes: int = Field(
        default=16, ge=1, le=4_096, description="Lists that one search looks into; more find more, slower."
    )


class VectorsConfig(BaseModel):
    """Text as vectors, for the cache, memory and the router."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    encoder: Literal["minilm", "sentence-transformers", "litellm", "hashing"] = Field(
        default="minilm",
        description="`minilm`: all-MiniLM-L6-v2, inside the package; `sentence-transformers`: a model of "
        "your own; `litellm`: an embedding model; `hashing`: words only, for tests.",
    )
    model: str | None = Field(
        default=None,
        description="With `sentence-transformers` a name or folder, with `litellm` a model of the proxy; a "
        "changed model needs a changed name.",
    )
    dimensions: int | None = Field(
        default=None, ge=2, le=8_192, description="Length of the vectors of a `litellm` model."
    )
    threads: int = Field(default=1, ge=1, le=64, description="CPU threads of a local model.")
    max_batch: int = Field(
        default=32,
        ge=1,
        le=1_024,
        description="Most texts that go through the model together; `minilm` always takes one.",
    )
    max_wait_ms: float = Field(
        default=0.0,
        ge=0,
        le=1_000,
        description="How long a text waits for others to share its batch; 0 takes those that wait anyway.",
    )
    max_queue: int = Field(
        default=1_000, ge=1, le=1_000_000, description="Most texts that wait for the model; then 503."
    )
    timeout_s: float = Field(
        default=5.0, gt=0, le=600, description="Longest wait for the vectors of a text, in seconds; then 503."
    )
    max_characters: int = Field(
        default=8_000,
        ge=100,
        le=10_000_000,
        description="Longer texts are encoded by their first and last halves of it; `minilm` has 8,000.",
    )
    memo_bytes: int = Field(
        default=6_000_000,
        ge=0,
        le=10_000_000_000,
        description="Memory for the vectors of recent texts, in bytes; 0 remembers none.",
    )
    index: IndexConfig = IndexConfig()

    @model_validator(mode="after")
    def _named(self) -> Self:
        if self.encoder in ("sentence-transformers", "litellm") and not self.model:
            raise ValueError(f"`model` must be given with the encoder `{self.encoder}`")
        if self.encoder == "litellm" and self.dimensions is None:
            raise ValueError("`dimensions` must be given with the encoder `litellm`")
        return self
