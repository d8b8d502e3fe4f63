"""Recent texts and their vectors."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Self
from weakref import ReferenceType, ref

import numpy as np

from sentinella_plugins.vectors.models import Encoding, Vector

_BETWEEN = "\0"
"""Pieces: no encoder has it in one."""


class Memo:
    """At most `limit` bytes; what was unused for longest goes first. What takes more than a tenth of it is
    not taken in. Vectors of words come back in half precision, rounded to a thousandth. Thread-safe."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held: OrderedDict[str, _Packed] = OrderedDict()
        self._lock = threading.Lock()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._held)

    def get(self, text: str) -> Encoding | None:
        with self._lock:
            packed = self._held.get(text)
            if packed is None:
                return None
            self._held.move_to_end(text)
            return packed.encoding(text)

    def put(self, encoding: Encoding) -> None:
        packed = _Packed.of(encoding)
        if packed.size > self._limit // 10:
            return
        with self._lock:
            if (old := self._held.pop(encoding.text, None)) is not None:
                self.bytes -= old.size
            self._held[encoding.text] = packed
            self.bytes += packed.size
            while self.bytes > self._limit:
                _, oldest = self._held.popitem(last=False)
                self.bytes -= oldest.size


@dataclass(slots=True, eq=False)
class _Packed:
    """An encoding that is held would keep alive what others derive from it, and the batch that it is a part
    of: this is a copy. As long as somebody else holds the encoding, all get the same one."""

    vector: Vector
    tokens: bytes
    pieces: str
    late: bytes
    size: int
    whole: ReferenceType[Encoding]

    @classmethod
    def of(cls, encoding: Encoding) -> Self:
        tokens = encoding.tokens.astype(np.float16).tobytes()
        pieces = _BETWEEN.join(encoding.pieces)
        late = encoding.late.tobytes()
        arrays = int(encoding.vector.nbytes) + len(tokens) + len(late)
        size = 700 + 4 * (len(encoding.text) + len(pieces)) + arrays
        return cls(encoding.vector.copy(), tokens, pieces, late, size, ref(encoding))

    def encoding(self, text: str) -> Encoding:
        known = self.whole()
        if known is not None:
            return known
        tokens = np.frombuffer(self.tokens, np.float16).astype(np.float32)
        pieces = tuple(self.pieces.split(_BETWEEN)) if self.pieces else ()
        late = np.frombuffer(self.late, np.float16).reshape(-1, len(self.vector))
        made = Encoding(text, self.vector, tokens.reshape(-1, len(self.vector)), pieces, late)
        self.whole = ref(made)
        return made
