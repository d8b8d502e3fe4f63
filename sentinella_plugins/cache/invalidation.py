"""Which kept answers shall not be given again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import numpy as np

from sentinella_plugins.cache.semantic import unpack
from sentinella_plugins.storage.entries import Entries, Entry, Match
from sentinella_plugins.vectors.models import Vector

_PAGE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Invalidation:
    """All that is given must fit; nothing given is everything."""

    id: str | None = None
    tag: str | None = None
    model: str | None = None
    older_than_s: float | None = None
    similar_to: str | None = None
    threshold: float = 0.85


async def matching(
    entries: Entries, tenant: str, what: Invalidation, vector: Vector | None, now: float
) -> AsyncIterator[Sequence[str]]:
    """Ids, some at a time. `vector` is that of `similar_to`; without one nothing is similar."""
    before = None if what.older_than_s is None else now - what.older_than_s
    match = Match(model=what.model, tag=what.tag, created_before=before)
    if what.id is not None:
        found = [entry for entry in await entries.outlines(tenant, [what.id]) if match.fits(entry)]
        yield [entry.id for entry in _similar(found, what, vector)]
        return
    after: str | None = None
    while page := await entries.page(tenant, after, _PAGE):
        after = page[-1].id
        yield [entry.id for entry in _similar([e for e in page if match.fits(e)], what, vector)]


def _similar(found: Sequence[Entry], what: Invalidation, vector: Vector | None) -> Sequence[Entry]:
    if what.similar_to is None:
        return found
    fit = [entry for entry in found if entry.vector]
    if vector is None or not fit:
        return ()
    near = np.stack([unpack(entry.vector) for entry in fit]) @ vector
    return [entry for entry, cosine in zip(fit, near, strict=True) if cosine >= what.threshold]
