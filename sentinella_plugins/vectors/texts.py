"""What an encoder reads of a text, and the length of what it makes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sentinella_plugins.vectors.models import Vector


def readable(text: str, most: int) -> str:
    """Its first and last halves when it is longer than `most` characters."""
    half = most // 2
    cut = text if len(text) <= most else f"{text[:half]} {text[-half:]}"
    return cut.encode("utf-8", "replace").decode("utf-8")  # lone surrogates


def unit(rows: NDArray[np.floating]) -> Vector:
    """(n, d) → the same directions with length one; zero stays zero."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, 1e-12), dtype=np.float32)
