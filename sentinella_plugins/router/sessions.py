"""Which model a conversation is on."""

from __future__ import annotations

from collections import OrderedDict


class Sessions:
    """The last model of each conversation, by its hash; of those that are long unused nothing is known.
    `None` is remembered too: the database was asked."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._models: OrderedDict[str, str | None] = OrderedDict()

    def knows(self, session: str) -> bool:
        return session in self._models

    def model(self, session: str) -> str | None:
        if session in self._models:
            self._models.move_to_end(session)
        return self._models.get(session)

    def put(self, session: str, model: str | None) -> None:
        self._models[session] = model
        self._models.move_to_end(session)
        while len(self._models) > self._size:
            self._models.popitem(last=False)
