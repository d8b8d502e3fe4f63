"""From a tool's description and a model's arguments to one HTTP request. Nothing is sent here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from sentinella_plugins.net.guard import host_of
from sentinella_plugins.net.models import Outbound
from sentinella_plugins.tools.models import InvalidTool, Secrets, ToolFailed
from sentinella_plugins.tools.result import rendered
from sentinella_plugins.tools.specs import PLACEHOLDER, Headers, Hidden, HttpTool

_IN_QUERY = frozenset({"GET", "HEAD", "DELETE"})
_NOTHING = object()
_DOTS = frozenset({".", ".."})


def outbound(tool: HttpTool, arguments: Mapping[str, Any], secrets: Secrets) -> Outbound:
    """Raises `ToolFailed` for arguments that do not fit into the path."""
    rest = _rest(tool, arguments)
    in_query = tool.method in _IN_QUERY and tool.body is None
    query = {**(rest if in_query else {}), **_query(tool, arguments, secrets)}
    content = None if in_query else _content(tool, arguments, rest)
    sent = {name.lower(): value for name, value in headers(tool.headers, secrets).items()}
    given = {"accept": "application/json, text/*;q=0.8", "user-agent": "sentinella"}
    if content is not None:
        given["content-type"] = "application/json"
    return Outbound(
        method=tool.method,
        url=_joined(_path(tool.url, arguments), query),
        headers={**given, **sent},
        content=content,
        hosts=frozenset({host_of(example(tool)), *(host.lower() for host in tool.allowed_hosts)}),
    )


def headers(given: Headers, secrets: Secrets) -> dict[str, str]:
    """With their secrets."""
    return {
        name: secrets[f"headers.{name.lower()}"].reveal() if isinstance(value, Hidden) else value
        for name, value in given.items()
    }


def example(tool: HttpTool) -> str:
    """The URL with something in every place."""
    return PLACEHOLDER.sub("x", tool.url)


def check_placeholders(tool: HttpTool) -> None:
    """Raises `InvalidTool` for a placeholder that is no parameter."""
    properties = tool.parameters.get("properties")
    known = set(properties) if isinstance(properties, Mapping) else set()
    unknown = sorted(_named(tool) - known)
    if unknown:
        raise InvalidTool(f"`{{{unknown[0]}}}` is no property of `parameters`.", param="parameters")


def _named(tool: HttpTool) -> set[str]:
    return {*PLACEHOLDER.findall(tool.url), *_used(tool.query), *_used(tool.body)}


def _used(value: object) -> set[str]:
    if isinstance(value, str):
        return set(PLACEHOLDER.findall(value))
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return {name for item in inner for name in _used(item)}


def _path(url: str, arguments: Mapping[str, Any]) -> str:
    def fill(name: str) -> str:
        value = arguments.get(name)
        if value is None or isinstance(value, dict | list):
            raise ToolFailed(
                "invalid_arguments",
                f"`{name}` is part of the URL: it must be text or a number.",
                args_error=True,
            )
        text = _text(value)
        if text == "" or text in _DOTS:
            raise ToolFailed("invalid_arguments", f"`{name}` may not be `{text}`.", args_error=True)
        return quote(text.encode("utf-8", "replace"), safe="")

    return PLACEHOLDER.sub(lambda found: fill(found.group(1)), url)


def _rest(tool: HttpTool, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments that no placeholder names. What the schema does not know is not passed on."""
    used = _named(tool)
    known = tool.parameters.get("properties") or {}
    return {name: value for name, value in arguments.items() if name in known and name not in used}


def _query(tool: HttpTool, arguments: Mapping[str, Any], secrets: Secrets) -> dict[str, Any]:
    filled = {
        name: secrets[f"query.{name}"].reveal() if isinstance(value, Hidden) else _filled(value, arguments)
        for name, value in (tool.query or {}).items()
    }
    return {name: value for name, value in filled.items() if value is not _NOTHING}


def _content(tool: HttpTool, arguments: Mapping[str, Any], rest: Mapping[str, Any]) -> bytes:
    return rendered(dict(rest) if tool.body is None else _filled(tool.body, arguments)).encode()


def _joined(url: str, query: Mapping[str, Any]) -> str:
    pairs = [
        (name, _text(item)) for name, value in query.items() for item in _items(value) if item is not None
    ]
    if not pairs:
        return url
    encoded = urlencode([(name, value.encode("utf-8", "replace")) for name, value in pairs])
    return f"{url}{'&' if '?' in url else '?'}{encoded}"


def _items(value: object) -> list[object]:
    return [item for item in (value if isinstance(value, list) else [value]) if item is not None]


def _filled(template: Any, arguments: Mapping[str, Any]) -> Any:
    """A text that is one placeholder becomes the argument itself, or nothing when there is none."""
    if isinstance(template, str):
        whole = PLACEHOLDER.fullmatch(template)
        if whole:
            return arguments.get(whole.group(1), _NOTHING)
        return PLACEHOLDER.sub(lambda found: _text(arguments.get(found.group(1), "")), template)
    if isinstance(template, Mapping):
        filled = {name: _filled(value, arguments) for name, value in template.items()}
        return {name: value for name, value in filled.items() if value is not _NOTHING}
    if isinstance(template, list):
        return [value for item in template if (value := _filled(item, arguments)) is not _NOTHING]
    return template


def _text(value: object) -> str:
    return value if isinstance(value, str) else rendered(value)
