"""Templates: kept in versions, rendered, used in calls, counted."""

from __future__ import annotations

import asyncio
import logging

from pydantic import ValidationError

from sentinella_plugins.kernel.call import Call, Outcome, Rendered
from sentinella_plugins.kernel.clock import Clock
from sentinella_plugins.kernel.errors import BadRequest, Conflict, Unavailable
from sentinella_plugins.kernel.events import Events, PartFailed
from sentinella_plugins.kernel.ids import new_id
from sentinella_plugins.storage.database import Database
from sentinella_plugins.templates.config import TemplatesConfig
from sentinella_plugins.templates.differences import unified
from sentinella_plugins.templates.files import dump
from sentinella_plugins.templates.importer import Importer
from sentinella_plugins.templates.library import Library, number_of
from sentinella_plugins.templates.models import (
    ID_PREFIX,
    Content,
    Head,
    LabelChange,
    NewTemplate,
    Rendering,
    RenderRequest,
    Source,
    TemplateChange,
    Usage,
    Use,
    UsedTemplate,
    Version,
)
from sentinella_plugins.templates.rendering import Renderer
from sentinella_plugins.templates.store import Draft, TemplateStore, no_template, no_version
from sentinella_plugins.templates.usage import Tally, of_call

logger = logging.getLogger(__name__)
_TRIES = 100
_REPORT_EVERY_S = 1.0
Found = tuple[Head, Version]


class TemplatesService:
    """`open` imports the folder, `run` must run: it writes usage and looks for changed files."""

    def __init__(self, database: Database, events: Events, clock: Clock, config: TemplatesConfig) -> None:
        self._store = TemplateStore(database, keep=config.keep_versions, most=config.max_per_tenant)
        self._renderer = Renderer(config)
        self._library = Library(self._store, self._renderer, clock, config, self._report)
        self._importer = Importer(config, self._import, self._broken_file)
        self._tally = Tally(config.max_pending)
        self._events = events
        self._clock = clock
        self._config = config
        self._report_from = clock.monotonic()

    async def open(self) -> None:
        await self._importer.look()

    async def run(self) -> None:
        """Until cancelled."""
        loops = [self._flushes()]
        if self._config.folder is not None and self._config.reload_interval_s:
            loops.append(self._looks())
        await asyncio.gather(*loops)

    async def close(self) -> None:
        """Writes the usage that waits."""
        await self.flush()
        self._renderer.close()

    async def create(self, tenant: str, new: NewTemplate) -> Found:
        """`Conflict` when there is one of that name, `TemplateInvalid` when it cannot be read."""
        draft = await self._draft(new.content(), "api", new.labels)
        head = await self._store.add(tenant, new_id(ID_PREFIX), new.name, draft)
        return self._changed(head, draft)

    async def get(self, tenant: str, ref: str, version: int | None = None, label: str | None = None) -> Found:
        """Always from the store."""
        head = await self._head(tenant, ref)
        return head, await self._version(head, number_of(head, version, label, new_id("seed")))

    async def page(self, tenant: str, *, limit: int, after: str | None) -> tuple[list[Found], bool]:
        """By id, each with its newest version, and whether there are more."""
        found = await self._store.page(tenant, limit + 1, after)
        return found[:limit], len(found) > limit

    async def newest(self, most: int) -> list[Found]:
        """Of all tenants, for administrators: the newest templates, each with its newest version."""
        return await self._store.newest(most)

    async def versions(
        self, tenant: str, ref: str, *, limit: int, before: int | None
    ) -> tuple[Head, list[Version], bool]:
        head = await self._head(tenant, ref)
        found = await self._store.versions(tenant, head.id, limit + 1, before)
        return head, found[:limit], len(found) > limit

    async def change(self, tenant: str, ref: str, change: TemplateChange) -> Found:
        """A new version. `Conflict` when `expected_version` is not the newest any more."""
        for _ in range(_TRIES):
            head, newest = await self.get(tenant, ref)
            if change.expected_version not in (None, head.version):
                break
            draft = await self._draft(change.of(newest.content), "api", change.labels)
            made = await self._store.append(tenant, head.id, draft, expected=head.version)
            if made is not None:
                return self._changed(made, draft)
        raise Conflict(
            "Another version was made meanwhile. Look at it and try again.", param="expected_version"
        )

    async def roll_back(self, tenant: str, ref: str, number: int) -> Found:
        """A new version equal to an old one."""
        head = await self._head(tenant, ref)
        old = await self._version(head, number)
        draft = Draft(content=old.content, source="rollback", at=self._clock.now())
        made = await self._store.append(tenant, head.id, draft)
        assert made is not None  # noqa: S101  # any version may be the newest
        return self._changed(made, draft)

    async def label(self, tenant: str, ref: str, change: LabelChange) -> Found:
        head = await self._store.label(tenant, ref, change.weights())
        self._library.forget(head)
        return head, await self._version(head, head.version)

    async def delete(self, tenant: str, ref: str) -> Head:
        """With its versions and their usage."""
        head = await self._store.remove(tenant, ref)
        self._library.forget(head)
        return head

    async def diff(
        self, tenant: str, ref: str, before: int | None, after: int | None
    ) -> tuple[Head, Version, Version, str]:
        """From the version before the newest to the newest, unless others are named."""
        head = await self._head(tenant, ref)
        new = await self._version(head, after or head.version)
        old = await self._version(head, before or max(new.number - 1, 1))
        pairs = (old.number, old.content), (new.number, new.content)
        return head, old, new, await self._renderer.aside(unified, head.name, *pairs)

    async def written(self, head: Head, version: Version) -> str:
        """YAML, as the folder of templates holds it."""
        return await self._renderer.aside(dump, version.content, head.name)

    async def stats(self, tenant: str, ref: str) -> tuple[Head, list[tuple[int, Usage]]]:
        """Usage of every version, newest first; what was counted in the last seconds comes later."""
        head = await self._head(tenant, ref)
        return head, await self._store.usage(tenant, head.id)

    async def render(self, tenant: str, ref: str, asked: RenderRequest) -> Rendering:
        use = Use(name=ref, version=asked.version, label=asked.label, variables=asked.variables)
        return await self._render(tenant, use, asked.session_id or new_id("seed"))

    async def use(self, call: Call) -> Call:
        """The call with the rendered messages before its own, and a note of the version."""
        if call.options.template is None:
            return call
        try:
            use = Use.model_validate(call.options.template)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            field = ".".join(str(part) for part in ("template", *first["loc"]))
            raise BadRequest(f"`{field}`: {first['msg']}.", param=field) from None
        made = await self._render(call.principal.tenant, use, call.options.session_id or call.id)
        own = call.body.get("messages")
        messages = [*made.messages, *(own if isinstance(own, list) else ())]
        notes = {**call.notes, UsedTemplate: made.used, Rendered: Rendered(made.used.name, made.used.version)}
        return call.evolve(body={**call.body, "messages": messages}, notes=notes)

    def count(self, call: Call, outcome: Outcome) -> None:
        """What a call used, for its template's version. Calls that were turned away do not count."""
        used = call.note(UsedTemplate)
        if used is not None and outcome.status != "refused":
            place = (call.principal.tenant, used.id, used.version)
            self._tally.add(place, of_call(outcome, self._clock.now()))

    def rate(self, tenant: str, used: UsedTemplate, score: float) -> None:
        """What somebody thought of an answer, 0 (bad) to 1 (good)."""
        rating = Usage(ratings=1, rating_sum=min(max(score, 0.0), 1.0))
        self._tally.add((tenant, used.id, used.version), rating)

    async def flush(self) -> None:
        """Writes the usage that waits; what cannot be written waits on."""
        taken = self._tally.take()
        if not taken:
            return
        try:
            await self._store.count(taken)
        except Unavailable as error:
            self._tally.give_back(taken)
            logger.info("usage of templates waits for the database: %s", error)

    async def _render(self, tenant: str, use: Use, seed: str) -> Rendering:
        head = await self._library.head(tenant, use.name)
        number = number_of(head, use.version, use.label, seed)
        ready = await self._library.compiled(head, number)
        text, messages = await self._renderer.render(ready, use.variables, head.name)
        return Rendering(UsedTemplate(head.id, head.name, number), text, messages)

    async def _draft(
        self, content: Content, source: Source, labels: tuple[str, ...], digest: str | None = None
    ) -> Draft:
        """Only what can be compiled is kept."""
        await self._renderer.compile(content)
        return Draft(content=content, source=source, at=self._clock.now(), labels=labels, file_digest=digest)

    async def _import(self, tenant: str, template: NewTemplate, digest: str) -> None:
        draft = await self._draft(template.content(), "file", template.labels, digest)
        head = await self._store.import_(tenant, new_id(ID_PREFIX), template.name, draft)
        if head is not None:
            self._library.forget(head)
            logger.info("template `%s` of `%s`: version %d from a file", head.name, tenant, head.version)

    async def _head(self, tenant: str, ref: str) -> Head:
        head = await self._store.find(tenant, ref)
        if head is None:
            raise no_template(ref)
        return head

    async def _version(self, head: Head, number: int) -> Version:
        version = await self._store.version(head.tenant, head.id, number)
        if version is None:
            raise no_version(head, number)
        return version

    def _changed(self, head: Head, draft: Draft) -> Found:
        self._library.forget(head)
        made = Version(number=head.version, content=draft.content, source=draft.source, created_at=draft.at)
        return head, made

    async def _flushes(self) -> None:
        while True:
            await asyncio.sleep(self._config.flush_interval_s)
            try:
                await self.flush()
            except Exception:
                logger.exception("usage of templates was lost")

    async def _looks(self) -> None:
        while True:
            await asyncio.sleep(self._config.reload_interval_s)
            try:
                await self._importer.look()
            except Exception:
                logger.exception("the folder of templates cannot be read")

    async def _report(self, tenant: str, error: Unavailable) -> None:
        now = self._clock.monotonic()
        if now >= self._report_from:
            self._report_from = now + _REPORT_EVERY_S
            await self._fail(tenant, str(error))

    async def _broken_file(self, reason: str) -> None:
        await self._fail(self._config.default_tenant, reason)

    async def _fail(self, tenant: str, reason: str) -> None:
        event = PartFailed(at=self._clock.now(), tenant=tenant, part="templates", error=reason)
        await self._events.publish(event)
