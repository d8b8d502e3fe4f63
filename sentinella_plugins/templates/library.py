"""What a worker remembers of templates: heads for a moment, versions, which never change, compiled."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable

from sentinella_plugins.kernel.access import Recent
from sentinella_plugins.kernel.clock import Clock
from sentinella_plugins.kernel.errors import BadRequest, Unavailable
from sentinella_plugins.templates.choice import chosen
from sentinella_plugins.templates.compiled import Compiled
from sentinella_plugins.templates.config import TemplatesConfig
from sentinella_plugins.templates.errors import TemplateNotFound
from sentinella_plugins.templates.models import Head
from sentinella_plugins.templates.rendering import Renderer
from sentinella_plugins.templates.store import Place, TemplateStore, no_template, no_version

Report = Callable[[str, Unavailable], Awaitable[None]]


class Library:
    """`report` is told when the store failed and memory stood in for it."""

    def __init__(
        self, store: TemplateStore, renderer: Renderer, clock: Clock, config: TemplatesConfig, report: Report
    ) -> None:
        self._store = store
        self._renderer = renderer
        self._open = config.on_failure == "open"
        self._report = report
        self._heads: Recent[tuple[str, str], Head] = Recent(
            self._find, clock, ttl_s=config.cache_ttl_s, size=config.cache_size
        )
        self._versions: Recent[Place, Compiled] = Recent(
            self._compiled, clock, ttl_s=math.inf, size=config.compiled_size
        )

    async def head(self, tenant: str, ref: str) -> Head:
        """At most `cache_ttl_s` old, older only while the store fails. `TemplateNotFound` when there is
        none."""
        try:
            head = await self._heads.get((tenant, ref))
        except Unavailable as error:
            head = self._heads.last((tenant, ref)) if self._open else None
            if head is None:
                raise
            await self._report(tenant, error)
        if head is None:
            raise no_template(ref)
        return head

    async def compiled(self, head: Head, number: int) -> Compiled:
        found = await self._versions.get((head.tenant, head.id, number)) if number <= head.version else None
        if found is None:
            raise no_version(head, number)
        return found

    def forget(self, head: Head) -> None:
        for ref in (head.id, head.name):
            self._heads.forget((head.tenant, ref))

    async def _find(self, key: tuple[str, str]) -> Head | None:
        return await self._store.find(*key)

    async def _compiled(self, place: Place) -> Compiled:
        version = await self._store.version(*place)
        if version is None:  # an answer would be remembered, and a version of this number may come
            raise TemplateNotFound(f"The template has no version {place[2]}.", param="version")
        return await self._renderer.compile(version.content)


def number_of(head: Head, version: int | None, label: str | None, seed: str) -> int:
    """The version that is meant: this one, the label's, else the newest."""
    if label is not None and version is not None:
        raise BadRequest("Give either `version` or `label`.", param="label")
    if label is None:
        return version or head.version
    weights = head.labels.get(label)
    if weights is None:
        raise TemplateNotFound(f"The template `{head.name}` has no label `{label}`.", param="label")
    return chosen(weights, f"{head.id}:{label}:{seed}")
