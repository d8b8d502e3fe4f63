"""Recent texts and their vectors."""

from __future__ import annotations

import threading
from collections import OrderedDict

from sentinella_plugins.vectors.models import Encoding


class Memo:
    """At most `limit` bytes; what was unused for longest goes first. What takes more than a tenth of it is
    not taken in. Thread-safe."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held: OrderedDict[str, Encoding] = OrderedDict()
        self._lock = threading.Lock()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._held)

    def get(self, text: str) -> Encoding | None:
        with self._lock:
            encoding = self._held.get(text)
            if encoding is not None:
                self._held.move_to_end(text)
            return encoding

    def put(self, encoding: Encoding) -> None:
        size = _size(encoding)
        if size > self._limit // 10:
            return
        with self._lock:
            if (old := self._held.pop(encoding.text, None)) is not None:
                self.bytes -= _size(old)
            self._held[encoding.text] = encoding
            self.bytes += size
            while self.bytes > self._limit:
                _, oldest = self._held.popitem(last=False)
                self.bytes -= _size(oldest)


def _size(encoding: Encoding) -> int:
    arrays = int(encoding.vector.nbytes) + int(encoding.tokens.nbytes)
    return 500 + 4 * len(encoding.text) + 60 * len(encoding.pieces) + arrays
