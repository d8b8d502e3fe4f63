"""Turns that were answered while the database was away: saved once it is back."""

from __future__ import annotations

import logging
from collections import deque

from sentinella_plugins.kernel.errors import Unavailable
from sentinella_plugins.memory.models import Turn
from sentinella_plugins.memory.store import SessionStore

logger = logging.getLogger(__name__)


class Unsaved:
    """Bounded; of a full one the oldest turn is lost. Saving twice saves once, so a turn whose writing ended
    in a timeout may come here."""

    def __init__(self, store: SessionStore, most: int) -> None:
        self._store = store
        self._turns: deque[Turn] = deque(maxlen=most)

    def __len__(self) -> int:
        return len(self._turns)

    def put(self, turn: Turn) -> None:
        if len(self._turns) == self._turns.maxlen:
            logger.warning("a turn of tenant `%s` is lost: too many wait for the database", turn.place.tenant)
        self._turns.append(turn)

    async def save(self) -> None:
        """In their order. `Unavailable` while the database is away."""
        while self._turns:
            turn = self._turns[0]
            try:
                await self._store.save(turn)
            except Unavailable:
                raise
            except Exception:
                logger.exception("a turn of tenant `%s` cannot be saved", turn.place.tenant)
            if self._turns and self._turns[0] is turn:
                self._turns.popleft()
