"""Where a tool's secrets stand, and which of them a change may keep."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import SecretStr

from sentinella_plugins.kernel.secrets import Secret
from sentinella_plugins.tools.models import InvalidTool, Secrets
from sentinella_plugins.tools.specs import AnySpec, Hidden, HttpTool, McpCommand, McpServer

_FROM_ENVIRONMENT = "os.environ/"


def places(spec: AnySpec) -> dict[str, SecretStr | None]:
    """Every secret by its place; `None` for those to be kept."""
    if isinstance(spec, McpCommand):
        return {f"env.{name}": value for name, value in spec.env.items()}
    if not isinstance(spec, HttpTool | McpServer):
        return {}
    found = {f"headers.{name.lower()}": value for name, value in spec.headers.items()}
    if isinstance(spec, HttpTool):
        found |= {f"query.{name}": value for name, value in (spec.query or {}).items()}  # type: ignore[misc]
    return {place: value.secret for place, value in found.items() if isinstance(value, Hidden)}


def given(spec: AnySpec) -> dict[str, str]:
    """The secrets of a new tool. Raises `InvalidTool` for a null."""
    return kept(spec, {})


def kept(spec: AnySpec, old: Secrets) -> dict[str, str]:
    """With the old ones in the places of nulls."""
    whole = {}
    for place, value in places(spec).items():
        if value is not None:
            whole[place] = value.get_secret_value()
        elif place in old:
            whole[place] = old[place].reveal()
        else:
            raise InvalidTool(f"`{place}.secret` is null, and there is none that is kept.", param=place)
    return whole


def keeps(spec: AnySpec) -> bool:
    return any(value is None for value in places(spec).values())


def check_keeping(old: AnySpec, new: AnySpec) -> None:
    """A secret that nobody may read must not be sent elsewhere by a change of the URL either."""
    if not isinstance(old, HttpTool | McpServer) or not isinstance(new, HttpTool | McpServer):
        raise InvalidTool("Give the secrets again: this is another kind of tool.")
    if _origin(old.url) != _origin(new.url):
        raise InvalidTool("Give the secrets again: the URL leads to another server.", param="url")


def of_operator(spec: AnySpec, env: Mapping[str, str]) -> Secrets:
    """Those of the settings; `os.environ/NAME` stands for a variable. Raises `InvalidTool`."""
    found = {}
    for place, value in given(spec).items():
        name = value.removeprefix(_FROM_ENVIRONMENT)
        if name != value and not env.get(name):
            raise InvalidTool(f"`{place}`: the environment has no `{name}`.", param=place)
        found[place] = Secret(env[name] if name != value else value)
    return found


def _origin(url: str) -> str:
    """Scheme, host and port as they are written."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.replace('?', '/').partition('/')[0]}".lower()
