"""The settings as commented YAML, a table for the docs and a JSON schema, all made from the models."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from sentinella_plugins.settings import Settings

Format = Literal["yaml", "markdown", "schema"]


def render(form: Format) -> str:
    if form == "schema":
        return json.dumps(Settings.model_json_schema(), indent=2, sort_keys=True) + "\n"
    return "\n".join(_yaml(Settings) if form == "yaml" else _markdown()) + "\n"


def _yaml(model: type[BaseModel], depth: int = 0) -> Iterator[str]:
    indent = "  " * depth
    if depth == 0:
        yield "# Every setting of Sentinella with its default. The environment overrides: for example,"
        yield "# SENTINELLA_GATEWAY__MAX_BODY_BYTES=1000000 sets `max_body_bytes` of `gateway`. A"
        yield "# mistyped key is an error that names the nearest right one. `sentinella doctor` shows what"
        yield "# is in force."
    for name, field in model.model_fields.items():
        inner = _section(field.annotation)
        if inner is not None:
            yield ""
            yield f"{indent}{name}:  # {(inner.__doc__ or '').splitlines()[0]}"
            yield from _yaml(inner, depth + 1)
            continue
        yield from textwrap.wrap(
            field.description or "", 110, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# "
        )
        yield f"{indent}{name}: {_default(field)}"


def _markdown() -> Iterator[str]:
    yield "# Settings\n"
    yield "Made from the code by `sentinella settings --format markdown`. Sections are top-level keys of"
    yield "`config/sentinella.yaml`; the variable of `section.key` is `SENTINELLA_SECTION__KEY`.\n"
    yield from _tables(Settings, "")


def _tables(model: type[BaseModel], path: str) -> Iterator[str]:
    plain = {name: field for name, field in model.model_fields.items() if _section(field.annotation) is None}
    title = f"`{path}`" if path else "Top level"
    yield from _table(title, (model.__doc__ or "").splitlines()[0] if path else "", plain)
    for name, field in model.model_fields.items():
        inner = _section(field.annotation)
        if inner is not None:
            yield from _tables(inner, f"{path}.{name}" if path else name)


def _table(title: str, text: str, fields: dict[str, Any]) -> Iterator[str]:
    yield f"## {title}\n"
    if text:
        yield f"{text}\n"
    yield "| key | default | what |\n|--|--|--|"
    for name, field in fields.items():
        what = (field.description or "").replace("|", "\\|")
        yield f"| `{name}` | `{_default(field)}` | {what} |"
    yield ""


def _section(annotation: Any) -> type[BaseModel] | None:
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True, validated_data={})
    return json.dumps(list(value) if isinstance(value, tuple) else value, default=str)
