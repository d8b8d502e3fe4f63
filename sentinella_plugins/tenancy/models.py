"""Tenants, and what a call holds of their limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from sentinella_plugins.kernel.access import TENANT_ID, Name, Patterns
from sentinella_plugins.kernel.errors import Unprocessable
from sentinella_plugins.kernel.limits import UNLIMITED, Limits
from sentinella_plugins.storage.protocols import Claim

DEFAULT = "default"
"""The built-in tenant."""

Fraction = Annotated[float, Field(gt=0, le=10, allow_inf_nan=False)]
MetadataKey = Annotated[str, Field(min_length=1, max_length=64)]
Whole = Annotated[int, Field(ge=-(2**53), le=2**53)]
Real = Annotated[float, Field(allow_inf_nan=False)]
MetadataValue = bool | Whole | Real | Annotated[str, Field(max_length=512)]
Metadata = Annotated[Mapping[MetadataKey, MetadataValue], Field(max_length=64)]


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Preferences(Part):
    """What the router keeps to. No `providers` means all of them."""

    providers: Patterns = ()
    exclude: Patterns = ()
    objective: Literal["balanced", "cheapest", "best", "fastest"] = "balanced"
    fallbacks: Annotated[dict[Name, Patterns], Field(max_length=100)] = {}
    stream_recovery: Literal["continue", "restart", "error"] | None = None


class Alerts(Part):
    """Shares of a cost limit at which an event is sent."""

    cost_fractions: Annotated[tuple[Fraction, ...], Field(max_length=20)] = (0.5, 0.8, 1.0)


class NewTenant(Part):
    """`name` is the id unless given; null means the default: unlimited, every model, no preference."""

    id: str = Field(pattern=rf"^{TENANT_ID.pattern}$")
    name: Name | None = None
    limits: Limits = UNLIMITED
    models: Patterns | None = None
    preferences: Preferences = Preferences()
    alerts: Alerts = Alerts()
    metadata: Metadata = Field(default_factory=dict)

    @field_validator("limits", "preferences", "alerts", "metadata", mode="before")
    @classmethod
    def _null_is_default(cls, value: object) -> object:
        return {} if value is None else value


class Tenant(NewTenant):
    """Who pays, what for at most, and what is preferred."""

    object: Literal["tenant"] = "tenant"
    name: Name
    created_at: int


class TenantPatch(BaseModel):
    """Only what is named changes. `limits`, `preferences` and `alerts` merge field by field, `metadata` key
    by key (null removes one); null instead of a whole part puts its default back."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name | None = None
    limits: Limits | None = None
    models: Patterns | None = None
    preferences: Preferences | None = None
    alerts: Alerts | None = None
    metadata: Annotated[Mapping[MetadataKey, MetadataValue | None], Field(max_length=64)] | None = None


class TenantPage(BaseModel):
    """Tenants by id."""

    model_config = ConfigDict(frozen=True)

    object: Literal["list"] = "list"
    data: tuple[Tenant, ...]
    has_more: bool


class DeletedTenant(BaseModel):
    model_config = ConfigDict(frozen=True)

    id: str
    object: Literal["tenant.deleted"] = "tenant.deleted"
    deleted: Literal[True] = True


def patched(tenant: Tenant, patch: TenantPatch) -> Tenant:
    """`Unprocessable` when the two together are more than a tenant may hold."""
    changes = _named(patch)
    if "name" in changes:
        changes["name"] = patch.name or tenant.id
    for part in ("limits", "preferences", "alerts"):
        if changes.get(part) is not None:
            changes[part] = getattr(tenant, part).model_copy(update=_named(changes[part]))
    if patch.metadata is not None:
        both = {**tenant.metadata, **patch.metadata}
        changes["metadata"] = {key: value for key, value in both.items() if value is not None}
    try:
        return Tenant.model_validate({**dict(tenant), **changes})
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0])
        raise Unprocessable(f"`{field}`: {first['msg']}", param=field) from None


def _named(patch: BaseModel) -> dict[str, Any]:
    return {name: getattr(patch, name) for name in patch.model_fields_set}


@dataclass(frozen=True, slots=True)
class Held:
    """What a call holds until it is settled; `model` is what it asked for. Each claim stands beside its
    quantity: `requests`, `tokens`, `cost` or `calls`."""

    id: str
    model: str
    claims: tuple[tuple[str, Claim], ...]
