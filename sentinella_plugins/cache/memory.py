"""The answers that a worker holds in memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Lru(Generic[K, V]):
    """At most `limit` bytes, as `size` tells them; what was unused for longest goes first. What takes
    more than a tenth of it is not taken in."""

    def __init__(self, limit: int, size: Callable[[V], int]) -> None:
        self._limit = limit
        self._size = size
        self._held: OrderedDict[K, V] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._held)

    def get(self, key: K) -> V | None:
        value = self._held.get(key)
        if value is not None:
            self._held.move_to_end(key)
        return value

    def put(self, key: K, value: V) -> None:
        self.drop(key)
        size = self._size(value)
        if size > self._limit // 10:
            return
        self._held[key] = value
        self.bytes += size
        while self.bytes > self._limit:
            _, oldest = self._held.popitem(last=False)
            self.bytes -= self._size(oldest)

    def drop(self, key: K) -> None:
        value = self._held.pop(key, None)
        if value is not None:
            self.bytes -= self._size(value)

    def clear(self) -> None:
        self._held.clear()
        self.bytes = 0
