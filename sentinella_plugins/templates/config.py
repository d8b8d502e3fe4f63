"""How many templates there may be, how large they and their renderings get, and which files hold some."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class TemplatesConfig(BaseModel):
    """Prompt templates."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    on_failure: Literal["open", "closed"] = Field(
        default="open",
        description="When the database cannot be reached: `open` renders what a worker still remembers, "
        "`closed` refuses calls with a template with 503.",
    )
    cache_ttl_s: float = Field(
        default=1.0,
        ge=0,
        le=60,
        description="How long a worker trusts what it read about versions and labels, in seconds.",
    )
    cache_size: int = Field(
        default=10_000, ge=1, le=1_000_000, description="Templates whose versions and labels are remembered."
    )
    compiled_size: int = Field(
        default=500, ge=1, le=100_000, description="Versions that a worker keeps compiled."
    )
    keep_versions: int = Field(
        default=100,
        ge=1,
        le=10_000,
        description="Newest versions kept of each template; older ones only while a label points to them.",
    )
    max_per_tenant: int = Field(default=1_000, ge=1, le=1_000_000, description="Most templates of a tenant.")
    max_template_chars: int = Field(
        default=100_000, ge=1, le=10_000_000, description="Longest template, all its messages together."
    )
    max_variables: int = Field(default=100, ge=0, le=10_000, description="Most variables of a template.")
    max_rendered_chars: int = Field(
        default=1_000_000,
        ge=1,
        le=50_000_000,
        description="Longest rendering, and most that its variables may hold; beyond it the answer is 422.",
    )
    max_loops: int = Field(
        default=10_000,
        ge=0,
        le=10_000_000,
        description="Most turns of all `{% for %}` loops of one rendering together.",
    )
    render_timeout_s: float = Field(
        default=0.25, gt=0, le=60, description="Longest time of one rendering, in seconds; then 422."
    )
    threads: int = Field(
        default=2, ge=1, le=64, description="Threads of a worker for Jinja2 and for large renderings."
    )
    max_waiting: int = Field(
        default=200, ge=1, le=100_000, description="Most renderings that wait for a thread; then 503."
    )
    flush_interval_s: float = Field(
        default=2.0,
        gt=0,
        le=3_600,
        description="Pause between two writes of usage per version, in seconds.",
    )
    max_pending: int = Field(
        default=10_000,
        ge=1,
        le=1_000_000,
        description="Most versions whose usage waits to be written; that of others is not counted.",
    )
    folder: Path | None = Field(
        default=Path("config/templates"),
        description="Folder of YAML files that are imported; null for none.",
    )
    prompts_interval_s: float = Field(
        default=10.0,
        ge=0,
        le=3_600,
        description="How often LiteLLM's prompt management, which administrators see, is told of templates, "
        "in seconds; 0 leaves it out.",
    )
    max_prompts: int = Field(
        default=1_000, ge=1, le=100_000, description="Most templates shown in LiteLLM's prompt management."
    )
    reload_interval_s: float = Field(
        default=2.0,
        ge=0,
        le=86_400,
        description="Pause between two looks for changed files, in seconds; 0 looks at the start only.",
    )
    max_files: int = Field(default=1_000, ge=1, le=100_000, description="Most files read from the folder.")
    max_file_bytes: int = Field(
        default=1_000_000, ge=1, le=100_000_000, description="Largest file that is read."
    )
    default_tenant: str = Field(default="default", description="Tenant of the files that do not name one.")
