"""Keys, as they are kept and as they are shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from sentinella_plugins.kernel.access import Name, Patterns
from sentinella_plugins.kernel.call import Principal, Role
from sentinella_plugins.kernel.limits import UNLIMITED, Limits
from sentinella_plugins.kernel.secrets import Secret

MAX_GRACE_S = 30 * 86_400
_YEAR_10000 = 253_402_300_800

StaticKeys = Mapping[Role, Secret]
"""Keys of the settings: `admin` is the master key, `member` the key of the tenant `default`."""


class NewKey(BaseModel):
    """What a key is made from. `models` and `limits` narrow the tenant's own; null leaves those."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    role: Role = "member"
    models: Patterns | None = None
    limits: Limits = UNLIMITED
    expires_at: int | None = Field(
        default=None, ge=0, lt=_YEAR_10000, description="Unix seconds; null for never."
    )

    @field_validator("limits", mode="before")
    @classmethod
    def _null_is_unlimited(cls, value: object) -> object:
        return UNLIMITED if value is None else value


class Rotation(BaseModel):
    """`grace_s`: how long the old key stays valid beside the new one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    grace_s: int = Field(default=0, ge=0, le=MAX_GRACE_S)


class ApiKey(NewKey):
    """A key without the key. `hint` shows its ends; `replaces` is what it was rotated from."""

    object: Literal["tenant.key"] = "tenant.key"
    id: str
    tenant: str
    hint: str
    created_at: int
    last_used_at: int | None = None
    replaces: str | None = None


class IssuedKey(ApiKey):
    """A key at its creation, the only time that `key` is shown."""

    key: str = Field(repr=False)


class KeyPage(BaseModel):
    """Keys by id, which is by age."""

    model_config = ConfigDict(frozen=True)

    object: Literal["list"] = "list"
    data: tuple[ApiKey, ...]
    has_more: bool


class DeletedKey(BaseModel):
    model_config = ConfigDict(frozen=True)

    id: str
    object: Literal["tenant.key.deleted"] = "tenant.key.deleted"
    deleted: Literal[True] = True


@dataclass(frozen=True, slots=True)
class KnownKey:
    """What the store knows about the owner of a key."""

    principal: Principal
    hint: str
    expires_at: float | None
    revoked: bool
    last_used_at: float | None
