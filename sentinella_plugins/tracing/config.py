"""What is counted and what is logged."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class TracingConfig(BaseModel):
    """Metrics and logs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_label_values: int = Field(
        default=500,
        ge=1,
        le=100_000,
        description="Most values of one metric label (tenant, model, ...) per worker; the rest is `other`.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="Least severity that Sentinella's own loggers write."
    )
    log_format: Literal["json", "text"] = Field(
        default="json", description="`json`: one object per line; `text`: for a human at a terminal."
    )
    log_calls: bool = Field(default=True, description="Write one line per call.")
    server_access_log: bool = Field(
        default=False, description="Let the HTTP server write a line of its own per request, too."
    )
    log_content: bool = Field(
        default=False, description="Write prompts and answers into that line. They may hold personal data."
    )
    mask_loggers: tuple[str, ...] = Field(
        default=(
            "LiteLLM",
            "LiteLLM Proxy",
            "LiteLLM Router",
            "uvicorn",
            "uvicorn.access",
            "uvicorn.error",
            "httpx",
        ),
        description="Loggers of other packages whose messages have their credentials masked too.",
    )
