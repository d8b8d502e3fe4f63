"""What a human sees."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

_PIPED_WIDTH = 200
Cell = Callable[[Mapping[str, Any]], object]


def raw(content: object) -> None:
    typer.echo(json.dumps(content, indent=2, ensure_ascii=False))


def table(
    rows: Iterable[Mapping[str, Any]], columns: Mapping[str, Cell], numbers: Iterable[str] = ()
) -> None:
    right = set(numbers)
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        shown.add_column(name, justify="right" if name in right else "left", overflow="fold")
    for row in rows:
        shown.add_row(*(_text(cell(row)) for cell in columns.values()))
    _console().print(shown)


def facts(values: Mapping[str, object]) -> None:
    shown = Table(box=None, pad_edge=False, show_header=False)
    shown.add_column(style="bold")
    shown.add_column(overflow="fold")
    for name, value in values.items():
        shown.add_row(name, _text(value))
    _console().print(shown)


def when(seconds: object) -> str:
    if not isinstance(seconds, int | float):
        return "-"
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")


def names(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) and value else "all"


def limit(value: object) -> str:
    return "unlimited" if value is None else str(value)


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else _PIPED_WIDTH)


def _text(value: object) -> Text:
    return Text("-" if value is None or value == "" else str(value))
