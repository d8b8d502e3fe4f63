"""Label values that cannot grow without end."""

from __future__ import annotations

NONE = "-"
OTHER = "other"
_LONGEST = 256


class Bounded:
    """Admits the first `limit` values; later ones are `other`, and a value that is empty is `-`."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._admitted = {NONE, OTHER}

    def __call__(self, value: str, *, admit: bool = True) -> str:
        """With `admit=False` only a value that was admitted before is shown."""
        if value in self._admitted:
            return value
        if not value:
            return NONE
        if not admit or len(self._admitted) >= self._limit + 2 or not _sound(value):
            return OTHER
        self._admitted.add(value)
        return value


def _sound(value: str) -> bool:
    return len(value) <= _LONGEST and value.isprintable()
