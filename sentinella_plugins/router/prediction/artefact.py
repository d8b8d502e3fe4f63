"""The trained numbers, as they are shipped."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FORMAT = 1
WEIGHTS, CARD = "weights.npz", "card.json"
ARTEFACT = Path(__file__).parents[1] / "data"
Arrays = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True, slots=True, eq=False)
class Artefact:
    arrays: Arrays
    models: tuple[str, ...]
    checksum: str


def load(folder: Path) -> Artefact:
    """Raises `OSError` when a file is missing and `ValueError` when it is not what the card says."""
    card: Any = json.loads((folder / CARD).read_text())
    content = (folder / WEIGHTS).read_bytes()
    checksum = hashlib.sha256(content).hexdigest()
    if not isinstance(card, dict) or card.get("format") != FORMAT or card.get("sha256") != checksum:
        raise ValueError(f"{folder / WEIGHTS} is not the file that its card names")
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        arrays = {name: np.asarray(file[name], dtype=np.float64) for name in file.files}
    return Artefact(arrays, tuple(card["models"]), checksum)


def save(folder: Path, arrays: Arrays, models: tuple[str, ...], card: Mapping[str, object]) -> None:
    """The same numbers give the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    small = {name: np.asarray(value, dtype=np.float32) for name, value in sorted(arrays.items())}
    np.savez(buffer, **small)  # type: ignore[arg-type]  # a keyword is an array's name here
    content = buffer.getvalue()
    (folder / WEIGHTS).write_bytes(content)
    checksum = hashlib.sha256(content).hexdigest()
    told = {"format": FORMAT, **card, "models": list(models), "sha256": checksum, "bytes": len(content)}
    (folder / CARD).write_text(json.dumps(told, indent=2, sort_keys=True) + "\n")
