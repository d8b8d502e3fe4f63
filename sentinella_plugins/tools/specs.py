"""How a tool is described, by a tenant over HTTP or by the operator in YAML."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    SecretStr,
    Tag,
    field_serializer,
    model_validator,
)

SEPARATOR = "__"
"""Between a server and its tool: `files__read`."""
PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_-]{0,63})\}")
_PLACE = re.compile(r"(?i)https?://[^/?#{}\\]+([/?]|$)")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")
_PRINTABLE = re.compile(r"[\x21-\x7e]([\t\x20-\x7e]*[\x21-\x7e])?")
_OURS = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_ANYTHING: dict[str, Any] = {"type": "object", "properties": {}}


def _no_separator(name: str) -> str:
    if SEPARATOR in name:
        raise ValueError(f"`{SEPARATOR}` stands between a server and its tools: it may not be in a name")
    return name


def _header(name: str) -> str:
    if not _HEADER.fullmatch(name) or name.lower() in _OURS:
        raise ValueError("this header's name is malformed, or the gateway sets it itself")
    return name


def _printable(value: str) -> str:
    if value and not _PRINTABLE.fullmatch(value):
        raise ValueError("must be printable ASCII, with no space at its ends")
    return value


def _hidden(value: SecretStr) -> SecretStr:
    _printable(value.get_secret_value())
    return value


def _url(url: str) -> str:
    if not _PLACE.match(url):
        raise ValueError("must be `https://host/path`, with `{placeholders}` only after the host")
    if "#" in url or PLACEHOLDER.sub("", url).strip("{}") != PLACEHOLDER.sub("", url):
        raise ValueError("may hold no `#`, and braces only around the name of a parameter")
    return url


ToolName = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9_-]{1,64}$", description="Letters, digits, `_`, `-`."),
    AfterValidator(_no_separator),
]
Url = Annotated[str, Field(min_length=1, max_length=2_048), AfterValidator(_url)]
HeaderName = Annotated[str, AfterValidator(_header)]
HostPattern = Annotated[str, Field(pattern=r"^(\*\.)?[A-Za-z0-9._-]{1,253}$")]
Pointer = Annotated[str, Field(max_length=512, pattern=r"^(/([^~]|~[01])*)?$")]


class Hidden(BaseModel):
    """A value that is kept encrypted and never shown: null stands for the one that is kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    secret: Annotated[SecretStr, Field(min_length=4, max_length=4_096), AfterValidator(_hidden)] | None

    @field_serializer("secret")
    def _never_shown(self, _secret: SecretStr | None) -> None:
        return None


HeaderText = Annotated[str, Field(max_length=4_096), AfterValidator(_printable)]
Headers = Annotated[dict[HeaderName, HeaderText | Hidden], Field(max_length=32)]
QueryValue = bool | int | float | Annotated[str, Field(max_length=2_048)] | Hidden


class Spec(BaseModel):
    """What all kinds have in common."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ToolName
    description: str = Field(default="", max_length=4_000, description="What the model reads.")
    timeout_s: float | None = Field(
        default=None, gt=0, le=300, description="Longest run; null for the setting's."
    )
    max_result_bytes: int | None = Field(
        default=None, ge=100, le=1_000_000, description="Longest result; null for the setting's."
    )


class HttpTool(Spec):
    """One HTTP request. Parameters fill the `{placeholders}` of `url`, `query` and `body`; those without a
    place go into the query (GET, HEAD, DELETE) or, where there is no `body`, into a JSON object."""

    kind: Literal["http"] = "http"
    parameters: dict[str, Any] = Field(default_factory=lambda: dict(_ANYTHING))
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    url: Url
    headers: Headers = {}
    query: Annotated[dict[str, QueryValue], Field(max_length=64)] | None = None
    body: dict[str, Any] | list[Any] | None = None
    allowed_hosts: Annotated[tuple[HostPattern, ...], Field(max_length=32)] = Field(
        default=(), description="Hosts that redirects may lead to, beside the URL's own."
    )
    extract: Pointer | Annotated[dict[str, Pointer], Field(min_length=1, max_length=32)] | None = Field(
        default=None, description="A JSON pointer into the answer, or several by name."
    )

    @model_validator(mode="after")
    def _body_fits_the_method(self) -> Self:
        if self.body is not None and self.method in ("GET", "HEAD"):
            raise ValueError(f"a {self.method} request has no body")
        return self


class McpServer(Spec):
    """An MCP server (streamable HTTP): each of its tools becomes `name__tool`. `tools` picks some."""

    kind: Literal["mcp"] = "mcp"
    url: Url
    headers: Headers = {}
    tools: Annotated[tuple[Annotated[str, Field(max_length=128)], ...], Field(max_length=128)] | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if PLACEHOLDER.search(self.url):
            raise ValueError("the URL of an MCP server has no placeholders")
        return self


class McpCommand(Spec):
    """An MCP server that the gateway starts itself and talks to over its standard input and output."""

    kind: Literal["mcp_command"]
    command: Annotated[tuple[str, ...], Field(min_length=1, max_length=64)]
    env: Annotated[dict[str, SecretStr], Field(max_length=64)] = {}
    tools: Annotated[tuple[str, ...], Field(max_length=128)] | None = None


class PythonTool(Spec):
    """A function of the gateway's own process, called with the arguments by name."""

    kind: Literal["python"]
    function: str = Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$", description="`module:function`.")
    parameters: dict[str, Any] = Field(default_factory=lambda: dict(_ANYTHING))


def _kind(value: Any) -> str:
    found = value.get("kind", "http") if isinstance(value, dict) else getattr(value, "kind", "http")
    return found if isinstance(found, str) else ""


TenantSpec = Annotated[
    Annotated[HttpTool, Tag("http")] | Annotated[McpServer, Tag("mcp")], Discriminator(_kind)
]
"""What a tenant may register; `kind` is `http` unless given."""
OperatorSpec = Annotated[
    Annotated[HttpTool, Tag("http")]
    | Annotated[McpServer, Tag("mcp")]
    | Annotated[McpCommand, Tag("mcp_command")]
    | Annotated[PythonTool, Tag("python")],
    Discriminator(_kind),
]
"""What the operator may register, in YAML."""
AnySpec = HttpTool | McpServer | McpCommand | PythonTool
Server = McpServer | McpCommand
