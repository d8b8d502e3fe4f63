"""Calls of tools, their results, and what a call may use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from sentinella_plugins.kernel.call import Json
from sentinella_plugins.kernel.errors import Conflict, NotFound, Unprocessable
from sentinella_plugins.kernel.secrets import Secret
from sentinella_plugins.tools.specs import AnySpec

Secrets = Mapping[str, Secret]
"""Values by their place: `headers.authorization`, `query.key`."""


class InvalidTool(Unprocessable):
    """This tool cannot be registered: its description contradicts itself."""

    code = "invalid_tool"


class TooManyTools(Unprocessable):
    """There are too many tools. Delete some, or name those that a call needs in `tools`."""

    code = "too_many_tools"


class ToolExists(Conflict):
    """There is a tool of that name. `PUT /v1/tools/{name}` changes it."""

    code = "tool_exists"


class ToolNotFound(NotFound):
    """There is no such tool. `GET /v1/tools` lists them."""

    code = "tool_not_found"


class SecretUnreadable(Exception):
    """A kept secret was encrypted with another key, or for another tool."""


class ToolFailed(Exception):
    """A run that gave no result: `code` for books, the text for the model."""

    def __init__(self, code: str, message: str, *, args_error: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.args_error = args_error


@dataclass(frozen=True, kw_only=True, slots=True)
class Registered:
    """A tool as it is kept. `sealed` holds its secrets, `version` grows with every change; the operator's
    belong to no tenant."""

    tenant: str | None
    spec: AnySpec
    sealed: bytes | None = field(default=None, repr=False)
    version: int = 1
    created_at: float = 0.0
    updated_at: float = 0.0

    @property
    def identity(self) -> tuple[str | None, str, int, float]:
        """A tool that was deleted and made again is another one."""
        return self.tenant, self.spec.name, self.version, self.updated_at


@dataclass(frozen=True, kw_only=True, slots=True)
class Offered:
    """One function as a model sees it; `remote` is its name on its MCP server."""

    name: str
    description: str
    parameters: Json
    tool: Registered
    remote: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Toolbox:
    """The note of a call whose tools the gateway runs. `clients` are the names of the client's own."""

    tenant: str
    request_id: str
    offered: Mapping[str, Offered]
    clients: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolCall:
    """What a model asks for; `arguments` is JSON as it wrote it."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolResult:
    """What a model is told. `args_error`: its arguments were wrong, and `content` says how."""

    id: str
    name: str
    content: str
    ok: bool
    ms: float
    error: str | None = None
    args_error: bool = False


Stop = Literal["max_rounds", "max_calls", "max_seconds", "max_cost", "arguments", "client_tools"]


class ToolView(BaseModel):
    """A tool as it is shown. Secrets are null."""

    model_config = ConfigDict(frozen=True, extra="allow")

    id: str
    object: Literal["tool"] = "tool"
    scope: Literal["tenant", "global"]
    kind: str
    name: str
    version: int
    created_at: int
    updated_at: int


class ToolPage(BaseModel):
    """Tools by name."""

    model_config = ConfigDict(frozen=True)

    object: Literal["list"] = "list"
    data: tuple[ToolView, ...]
    has_more: bool


class DeletedTool(BaseModel):
    model_config = ConfigDict(frozen=True)

    id: str
    object: Literal["tool.deleted"] = "tool.deleted"
    deleted: Literal[True] = True


class Trial(BaseModel):
    """A run by hand. `arguments` as the model would give them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    arguments: dict[str, Any] = Field(default_factory=dict)


class TrialResult(BaseModel):
    """`content` is what the model would be told. Of a whole MCP server: the names of its `functions`."""

    model_config = ConfigDict(frozen=True)

    object: Literal["tool.result"] = "tool.result"
    name: str
    ok: bool
    content: str
    error: str | None = None
    ms: float
    functions: tuple[str, ...] | None = None
