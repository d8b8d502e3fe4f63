"""What an owner does with sessions: list, read, export, summarise, delete."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from sentinella_plugins.kernel.call import Principal
from sentinella_plugins.kernel.errors import BadRequest
from sentinella_plugins.memory.archive import Archive, Shelf
from sentinella_plugins.memory.config import MemoryConfig
from sentinella_plugins.memory.models import Head, Message, SessionNotFound
from sentinella_plugins.memory.summaries import Summaries
from sentinella_plugins.memory.tails import Tails

_EXPORTED_AT_ONCE = 200


class Library:
    def __init__(self, archive: Archive, summaries: Summaries, tails: Tails, config: MemoryConfig) -> None:
        self._archive = archive
        self._summaries = summaries
        self._tails = tails
        self._config = config

    def shelf(self, who: Principal, tenant: str | None = None) -> Shelf:
        """Administrators see all sessions of a tenant, and of any; members those that their calls see."""
        if who.role == "admin":
            return Shelf(tenant or who.tenant)
        if tenant not in (None, who.tenant):
            raise SessionNotFound
        return Shelf(who.tenant, who.key_id if self._config.scope == "key" else "")

    async def get(self, shelf: Shelf, session_id: str) -> Head:
        """`SessionNotFound` for an unknown one, and for another tenant's."""
        head = await self._archive.find(shelf, session_id) if session_id.isprintable() else None
        if head is None:
            raise SessionNotFound
        return head

    async def page(self, shelf: Shelf, limit: int, after: str | None) -> tuple[Sequence[Head], bool]:
        """Newest first, and whether there are more. `after` is the id of the last one seen."""
        ref = None if after is None else (await self.get(shelf, after)).ref
        heads = await self._archive.page(shelf, limit + 1, ref)
        return heads[:limit], len(heads) > limit

    async def messages(
        self, head: Head, limit: int, after: str | None, order: str
    ) -> tuple[Sequence[Message], bool]:
        """`order` is `asc` or `desc`; `after` the id of the last message seen."""
        page = await self._archive.messages(head, limit + 1, _number(after), newest_first=order == "desc")
        return page[:limit], len(page) > limit

    async def everything(self, head: Head) -> AsyncIterator[Sequence[Message]]:
        """All messages, oldest first, a page at a time."""
        last = 0
        while page := await self._archive.messages(head, _EXPORTED_AT_ONCE, last):
            yield page
            last = page[-1].seq

    async def summarise(self, shelf: Shelf, session_id: str, who: Principal) -> Head:
        """Sums up all but the last messages now. The session as it is then."""
        head = await self.get(shelf, session_id)
        return await self._summaries.bring_up(head, who, all_but_last=True)

    async def delete(self, shelf: Shelf, session_id: str) -> None:
        head = await self.get(shelf, session_id)
        await self._archive.delete(head)
        await self._tails.drop(shelf.tenant, [head.ref])

    async def delete_all(self, shelf: Shelf) -> int:
        """How many it were."""
        total = 0
        while gone := await self._archive.delete_some(shelf):
            total += len(gone)
            await self._tails.drop(shelf.tenant, gone)
        return total


def _number(message_id: str | None) -> int | None:
    if message_id is None:
        return None
    digits = message_id.removeprefix("msg_")
    if not (digits.isascii() and digits.isdecimal() and len(digits) < 16):
        raise BadRequest("`after` must be the id of a message of this session.", param="after")
    return int(digits)
