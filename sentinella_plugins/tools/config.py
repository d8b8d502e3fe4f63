"""What tools may take: how many, how long, how large."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from sentinella_plugins.kernel.limits import Usd
from sentinella_plugins.net.config import NetConfig
from sentinella_plugins.tools.specs import OperatorSpec


class BoundsConfig(BaseModel):
    """How long the gateway goes on asking a model and running its tools."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_rounds: int = Field(default=8, ge=1, le=100, description="Most rounds of tools in one call.")
    max_calls: int = Field(default=32, ge=1, le=1_000, description="Most runs of tools in one call.")
    max_seconds: float = Field(
        default=60.0, gt=0, le=3_600, description="No further round begins after so many seconds."
    )
    max_cost_usd: Usd | None = Field(
        default=None, description="No further round begins after so many dollars; null for no such bound."
    )
    max_argument_errors: int = Field(
        default=2,
        ge=1,
        le=10,
        description="Wrong arguments for one tool, round after round, that end the loop.",
    )


class ToolsConfig(BaseModel):
    """Tools that the gateway runs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    on_failure: Literal["open", "closed"] = Field(
        default="closed",
        description="When a tenant's tools cannot be read: `closed` refuses the call with 503, `open` goes "
        "on with the operator's alone.",
    )
    registration: Literal["member", "admin", "off"] = Field(
        default="member", description="Whose keys may register, change and delete a tenant's tools."
    )
    secret_key: SecretStr | None = Field(
        default=None,
        description="Encrypts kept secrets; the same for all replicas. By default made in `tools.key` of "
        "the data directory.",
    )
    registered: tuple[OperatorSpec, ...] = Field(
        default=(),
        max_length=200,
        description="Tools for all tenants: kinds `http`, `mcp`, `mcp_command`, `python`.",
    )
    max_per_tenant: int = Field(default=100, ge=0, le=10_000, description="Most tools a tenant may register.")
    max_attached: int = Field(
        default=64, ge=1, le=1_000, description="Most tools in one call; beyond it the answer is 422."
    )
    max_schema_bytes: int = Field(
        default=32_000, ge=100, le=1_000_000, description="Largest JSON schema of parameters."
    )
    max_schema_depth: int = Field(default=16, ge=1, le=64, description="Deepest nesting of a JSON schema.")
    max_argument_bytes: int = Field(
        default=64_000, ge=100, le=10_000_000, description="Longest arguments a model may give."
    )
    timeout_s: float = Field(
        default=10.0, gt=0, le=300, description="Longest run of a tool that does not say otherwise."
    )
    max_result_bytes: int = Field(
        default=16_000,
        ge=100,
        le=1_000_000,
        description="Longest result a model is told, in bytes; the rest is cut off with a note.",
    )
    max_running: int = Field(
        default=200, ge=1, le=100_000, description="Most tools that run at once in one worker."
    )
    max_running_per_tenant: int = Field(
        default=16, ge=1, le=100_000, description="Most of them for one tenant; more wait."
    )
    python_threads: int = Field(
        default=8, ge=1, le=256, description="Threads for Python functions that are not `async`."
    )
    mcp_sessions: int = Field(
        default=50, ge=1, le=10_000, description="Most open sessions with MCP servers in one worker."
    )
    mcp_idle_s: float = Field(
        default=300.0, gt=0, le=86_400, description="When an unused MCP session is closed, in seconds."
    )
    mcp_list_s: float = Field(
        default=300.0, gt=0, le=86_400, description="How long an MCP server's list of tools is kept, in s."
    )
    cache_ttl_s: float = Field(
        default=5.0, ge=0, le=300, description="How long a tenant's tools are remembered, in seconds."
    )
    cache_size: int = Field(
        default=1_000, ge=1, le=1_000_000, description="Tenants whose tools are remembered."
    )
    bounds: BoundsConfig = BoundsConfig()
    net: NetConfig = NetConfig()
