"""How a model is chosen."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class RouterConfig(BaseModel):
    """How a model is chosen when the client leaves the choice to the gateway."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    default_model: str | None = Field(
        default="gpt-4o-mini",
        description="Asked when `model` is omitted or `auto` and the tenant may use it; else the "
        "cheapest allowed one.",
    )
