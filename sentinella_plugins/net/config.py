"""Where outbound requests to tenants' addresses may go, and how much they may take."""

from __future__ import annotations

import ipaddress
import re

from pydantic import BaseModel, ConfigDict, Field, field_validator

_HOST = re.compile(r"(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*")


class NetConfig(BaseModel):
    """Requests to addresses that tenants give."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    allow: tuple[str, ...] = Field(
        default=(),
        max_length=1_000,
        description="Hosts (`api.internal`, `*.corp.example`) and networks (`10.1.0.0/16`) that may be asked "
        "although they are not public.",
    )
    http: bool = Field(
        default=False,
        description="Let tenants use `http://` too; hosts and networks of `allow` always may.",
    )
    low_ports: tuple[int, ...] = Field(
        default=(80, 443), description="Ports below 1024 that may be asked; those above all may."
    )
    max_redirects: int = Field(
        default=3, ge=0, le=20, description="Most redirects followed; each hop is checked like the first."
    )
    max_response_bytes: int = Field(
        default=1_000_000,
        ge=1_000,
        le=100_000_000,
        description="Largest response, counted after decompression; beyond it the request fails.",
    )
    max_connections: int = Field(
        default=100, ge=1, le=10_000, description="Most open connections of one worker."
    )
    keepalive_s: float = Field(
        default=15.0, ge=0, le=600, description="How long an idle connection stays open, in seconds."
    )
    connect_s: float = Field(
        default=5.0,
        gt=0,
        le=60,
        description="Longest wait for a name and a connection, in seconds.",
    )
    resolver_threads: int = Field(
        default=4, ge=1, le=64, description="Names looked up at the same time by one worker."
    )

    @field_validator("allow")
    @classmethod
    def _hosts_or_networks(cls, entries: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_checked(entry.strip().lower().rstrip(".")) for entry in entries)


def _checked(entry: str) -> str:
    try:
        return str(ipaddress.ip_network(entry))
    except ValueError:
        if "/" in entry or not _HOST.fullmatch(entry):
            raise ValueError(f"`{entry}` is neither a host nor a network such as 10.1.0.0/16") from None
        return entry
