"""Prompts with the scores of models, as training and evaluation read them."""

from __future__ import annotations

import ast
import gzip
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sentinella_plugins.vectors.models import Encoding

Encode = Callable[[Sequence[str]], Sequence[Encoding]]


@dataclass(frozen=True, slots=True)
class Row:
    """`scores` are 0 to 1, `costs` US dollars, `output_chars` lengths of answers; each by model."""

    task: str
    prompt: str
    scores: Mapping[str, float]
    costs: Mapping[str, float] = field(default_factory=dict)
    output_chars: Mapping[str, float] = field(default_factory=dict)


def read_rows(files: Iterable[Path]) -> list[Row]:
    """Of `.jsonl` and `.jsonl.gz`. Raises `OSError`, and `ValueError` for a line that is no such row."""
    return [row for file in files for row in _read(file)]


def matrix(rows: Sequence[Row], models: Sequence[str], of: str = "scores") -> NDArray[np.float64]:
    """(rows, models); NaN where a model was not asked."""
    return np.array([[getattr(row, of).get(model, np.nan) for model in models] for row in rows], dtype=float)


def _read(file: Path) -> list[Row]:
    text = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    return [
        _row(line, f"{file}:{number}") for number, line in enumerate(text.splitlines(), 1) if line.strip()
    ]


def _row(line: bytes, where: str) -> Row:
    try:
        found = json.loads(line)
        lengths = found.get("output_chars") or {}
        return Row(
            str(found["task"]), _prompt(found["prompt"]), found["scores"], found.get("costs") or {}, lengths
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{where} is not a row of task, prompt and scores ({error!r})") from error


def _prompt(prompt: str) -> str:
    """Some data sets keep a prompt as a Python list of one text."""
    if not prompt.startswith(("['", '["')):
        return prompt
    try:
        parts = ast.literal_eval(prompt)
    except (ValueError, SyntaxError):
        return prompt
    return "\n".join(map(str, parts)) if isinstance(parts, list) else prompt
