"""What the cache did, counted here and added up in the database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from sentinella_plugins.cache.models import ErrorEstimate, Stats
from sentinella_plugins.cache.store import Books
from sentinella_plugins.kernel.call import CacheMark
from sentinella_plugins.storage.entries import Size

_MOST = 10_000
_BYPASS, _NOT_KEPT = "bypass:", "not_kept:"


class Tally:
    def __init__(self, books: Books) -> None:
        self._books = books
        self._more: Counter[tuple[str, str]] = Counter()

    def mark(self, tenant: str, mark: CacheMark) -> None:
        name = {"hit": f"hit_{mark.kind}", "miss": "miss", "bypass": f"{_BYPASS}{mark.reason}"}[mark.status]
        self._add(tenant, name, 1)
        if mark.saved:
            self._add(tenant, "saved_nano", mark.saved)

    def not_kept(self, tenant: str, reason: str) -> None:
        self._add(tenant, f"{_NOT_KEPT}{reason}", 1)

    async def flush(self) -> None:
        """Raises `Unavailable`; then nothing is lost."""
        more, self._more = self._more, Counter()
        try:
            await self._books.add_counts((tenant, name, value) for (tenant, name), value in more.items())
        except BaseException:
            self._more.update(more)
            raise

    async def stats(
        self, tenant: str, size: Size, errors: ErrorEstimate, *, lag_s: float, indexed: int
    ) -> Stats:
        await self.flush()
        counts = await self._books.counts(tenant)
        return Stats(
            entries=size.entries,
            bytes=size.bytes,
            hits_exact=counts.get("hit_exact", 0),
            hits_semantic=counts.get("hit_semantic", 0),
            misses=counts.get("miss", 0),
            bypassed=_part(counts, _BYPASS),
            not_kept=_part(counts, _NOT_KEPT),
            saved_nano=counts.get("saved_nano", 0),
            errors=errors,
            lag_s=lag_s,
            indexed=indexed,
        )

    def _add(self, tenant: str, name: str, more: int) -> None:
        if len(self._more) < _MOST or (tenant, name) in self._more:
            self._more[tenant, name] += more


def _part(counts: Mapping[str, int], prefix: str) -> dict[str, int]:
    return {name.removeprefix(prefix): value for name, value in counts.items() if name.startswith(prefix)}
