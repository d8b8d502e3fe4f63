"""Two texts read together: the encoder's last layer once more, over both, trained to tell whether they ask
the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime  # type: ignore[import-untyped]

from sentinella_plugins.vectors.minilm import MODEL, checked, session_options
from sentinella_plugins.vectors.models import Encoding

DATA = Path(__file__).parent / "data" / "pairs"


class PairReader:
    """Symmetric, deterministic and thread-safe. Texts of more than `max_tokens` pieces are not read."""

    def __init__(self, folder: Path = DATA) -> None:
        """Raises `DamagedModel`."""
        card = checked(folder)
        self._most: int = card["max_tokens"]
        self._session = onnxruntime.InferenceSession(
            str(folder / MODEL), session_options(1), providers=["CPUExecutionProvider"]
        )

    def read(self, one: Encoding, other: Encoding) -> float | None:
        """Log odds that both ask the same; `None` for a text that is too long, and for encodings of another
        encoder than it was trained on."""
        if not all(0 < len(encoding.late) <= self._most for encoding in (one, other)):
            return None
        first, second = sorted((one, other), key=lambda encoding: encoding.text)
        words = np.concatenate([first.late, second.late]).astype(np.float32)[None]
        size, total = len(first.late), words.shape[1]
        across = np.zeros((1, 1, total, total), np.float32)
        across[..., :size, size:] = across[..., size:, :size] = 1
        shares = np.zeros((2, 1, total, 1), np.float32)
        shares[0, :, :size], shares[1, :, size:] = 1 / size, 1 / (total - size)
        cosine = np.array([one.vector @ other.vector], np.float32)
        inputs = {"words": words, "other": across, "left": shares[0], "right": shares[1], "cosine": cosine}
        return float(self._session.run(["odds"], inputs)[0][0])
