"""Templates as YAML."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from sentinella_plugins.templates.errors import TemplateInvalid
from sentinella_plugins.templates.models import Content, NewTemplate

ENDINGS = (".yaml", ".yml")
_ODD = re.compile("[\r\x85\u2028\u2029\ufeff]")  # line ends to YAML, and a mark that it drops
Signature = tuple[int, int]
"""When a file was changed (ns) and how large it is."""


class _Loader(yaml.SafeLoader):
    """Without aliases: a few of them make a small file enormous."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (`*name`) are not read")
        return super().compose_node(parent, index)


class _Dumper(yaml.SafeDumper):
    """Texts of several lines stay readable."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = '"' if _ODD.search(text) else "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def dump(content: Content, name: str | None = None) -> str:
    """What `parse` reads again."""
    fields = content.model_dump(mode="json", exclude_none=True)
    named = fields if name is None else {"name": name, **fields}
    return yaml.dump(named, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def parse(text: str, stem: str, default_tenant: str) -> tuple[str, NewTemplate]:
    """A file's tenant and template; without `name` the file's own counts. `TemplateInvalid` says what is
    wrong."""
    try:
        content = yaml.load(text, Loader=_Loader)  # noqa: S506  # a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise TemplateInvalid(f"It is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, Mapping):
        raise TemplateInvalid("It must hold a mapping.")
    fields = {"name": stem, **content}
    tenant = str(fields.pop("tenant", None) or default_tenant)
    try:
        return tenant, NewTemplate.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise TemplateInvalid(f"`{field}`: {first['msg']}" if field else first["msg"]) from None


def digest(tenant: str, template: NewTemplate) -> str:
    return hashlib.sha256(f"{tenant}\0{template.model_dump_json()}".encode()).hexdigest()


def scan(folder: Path, most: int) -> dict[Path, Signature]:
    """The YAML files of a folder, by name; nothing when there is no such folder. Blocking."""
    found: dict[Path, Signature] = {}
    for path in sorted(folder.glob("*")) if folder.is_dir() else ():
        if path.suffix in ENDINGS and path.is_file() and len(found) < most:
            status = path.stat()
            found[path] = (status.st_mtime_ns, status.st_size)
    return found


def read(path: Path, most_bytes: int) -> str:
    """`TemplateInvalid` when it is too large or no text. Blocking."""
    try:
        with path.open("rb") as file:
            raw = file.read(most_bytes + 1)
        if len(raw) > most_bytes:
            raise TemplateInvalid(f"It is larger than {most_bytes} bytes.")
        return raw.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise TemplateInvalid(f"It cannot be read ({type(error).__name__}).") from None
