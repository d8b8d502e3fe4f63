"""Text as vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]
Halves = NDArray[np.float16]


def _nothing() -> Halves:
    return np.empty((0, 0), np.float16)


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Encoding:
    """`vector` (d,) has unit length. `tokens` (n, d) are the unit vectors of the n word `pieces`, in their
    order, without special tokens; an encoder that has none leaves them empty. `late` (n, d) are all pieces
    as the encoder's last layer gets them, for a model that reads two texts together; mostly empty."""

    text: str
    vector: Vector
    tokens: Vector
    pieces: tuple[str, ...] = ()
    late: Halves = field(default_factory=_nothing)


class Encoder(Protocol):
    """`name` changes whenever vectors of the same text would."""

    @property
    def name(self) -> str: ...

    @property
    def dimensions(self) -> int: ...

    async def encode(self, texts: Sequence[str]) -> Sequence[Encoding]:
        """Off the event loop. Raises `Unavailable` when the model cannot be asked or too many wait."""
        ...


@runtime_checkable
class Prompt(Protocol):
    """An encoder that can do without its own thread."""

    def encode_here(self, text: str) -> Encoding | None:
        """In the calling thread, which is not the event loop's; `None` when others wait for the model."""
        ...
