"""Templates in SQL. A template's row is locked while a version is added, so no version is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import orjson
from sqlalchemy import (
    Connection,
    Row,
    RowMapping,
    Select,
    and_,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from sentinella_plugins.kernel.errors import Conflict, NotFound
from sentinella_plugins.kernel.money import Nano
from sentinella_plugins.storage.database import Database
from sentinella_plugins.storage.tables import template_usage as usages
from sentinella_plugins.storage.tables import template_versions as versions
from sentinella_plugins.storage.tables import templates, tenants
from sentinella_plugins.templates.errors import TemplateNotFound
from sentinella_plugins.templates.models import (
    ID_PREFIX,
    MOST_LABELS,
    Content,
    Head,
    Source,
    Usage,
    Version,
    Weights,
)

T = TypeVar("T")
Place = tuple[str, str, int]
"""Tenant, template, version."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Draft:
    """A version to be; `labels` are put on it."""

    content: Content
    source: Source
    at: float
    labels: tuple[str, ...] = ()
    file_digest: str | None = None


class TemplateStore:
    def __init__(self, database: Database, *, keep: int, most: int) -> None:
        self._database = database
        self._keep = keep
        self._most = most

    async def find(self, tenant: str, ref: str) -> Head | None:
        """By id or name."""
        query = _heads(tenant, ref)
        row = await self._database.read(lambda connection: connection.execute(query).one_or_none())
        return None if row is None else _head(row)

    async def page(self, tenant: str, limit: int, after: str | None) -> list[tuple[Head, Version]]:
        mine = templates.c.tenant == tenant, templates.c.id > (after or "")
        return await self._found(_with_newest().where(*mine).order_by(templates.c.id).limit(limit))

    async def newest(self, limit: int) -> list[tuple[Head, Version]]:
        """Of all tenants."""
        return await self._found(_with_newest().order_by(templates.c.id.desc()).limit(limit))

    async def _found(self, query: Select[Any]) -> list[tuple[Head, Version]]:
        return await self._database.read(
            lambda connection: [
                (_head(row), _version(row, row.version, row.made_at)) for row in connection.execute(query)
            ]
        )

    async def version(self, tenant: str, template: str, number: int) -> Version | None:
        query = select(versions).where(*_place(tenant, template), versions.c.version == number)
        found = await self._database.read(lambda connection: _versions(connection, query))
        return found[0] if found else None

    async def versions(self, tenant: str, template: str, limit: int, before: int | None) -> list[Version]:
        """Newest first."""
        query = select(versions).where(*_place(tenant, template)).order_by(versions.c.version.desc())
        query = query if before is None else query.where(versions.c.version < before)
        return await self._database.read(lambda connection: _versions(connection, query.limit(limit)))

    async def add(self, tenant: str, template: str, name: str, draft: Draft) -> Head:
        """`Conflict` when the name is taken or the tenant has too many."""

        def write(connection: Connection) -> Head:
            return _create(connection, tenant, template, name, draft, self._most)

        return await self._unique(write, name)

    async def append(self, tenant: str, ref: str, draft: Draft, expected: int | None = None) -> Head | None:
        """`None` when another version than `expected` is the newest."""

        def write(connection: Connection) -> Head | None:
            head = _locked(connection, tenant, ref)
            if expected not in (None, head.version):
                return None
            return _append(connection, head, draft, self._keep)

        return await self._database.write(write)

    async def import_(self, tenant: str, template: str, name: str, draft: Draft) -> Head | None:
        """Adds or appends; `None` when this very file was imported before."""

        def write(connection: Connection) -> Head | None:
            row = connection.execute(_heads(tenant, name).with_for_update()).one_or_none()
            if row is None:
                return _create(connection, tenant, template, name, draft, self._most)
            if row.file_digest == draft.file_digest:
                return None
            return _append(connection, _head(row), draft, self._keep)

        return await self._unique(write, name)

    async def label(self, tenant: str, ref: str, changes: Mapping[str, Weights | None]) -> Head:
        """`TemplateNotFound` for a version that does not exist, `Conflict` for too many labels."""

        def write(connection: Connection) -> Head:
            head = _locked(connection, tenant, ref)
            wanted = {number for weights in changes.values() for number in weights or ()}
            query = select(versions.c.version).where(*_place(tenant, head.id), versions.c.version.in_(wanted))
            for number in sorted(wanted - set(connection.scalars(query))):
                raise no_version(head, number)
            labels = {**head.labels, **changes}
            kept = {label: weights for label, weights in labels.items() if weights is not None}
            return _put(connection, replace(head, labels=kept))

        return await self._database.write(write)

    async def remove(self, tenant: str, ref: str) -> Head:
        def write(connection: Connection) -> Head:
            head = _locked(connection, tenant, ref)
            mine = and_(templates.c.tenant == tenant, templates.c.id == head.id)
            connection.execute(delete(templates).where(mine))
            return head

        return await self._database.write(write)

    async def usage(self, tenant: str, template: str) -> list[tuple[int, Usage]]:
        """Of every version that is kept, newest first."""
        mine = and_(usages.c.tenant == tenant, usages.c.template == template)
        query = select(usages).where(mine).order_by(usages.c.version.desc())
        rows = await self._database.read(lambda connection: connection.execute(query).mappings().all())
        return [(int(row["version"]), _usage(row)) for row in rows]

    async def count(self, used: Mapping[Place, Usage]) -> None:
        """Adds to the sums; what was deleted meanwhile is left out."""
        # Sorted, so that two workers never wait for each other's rows crosswise.
        rows = [_deltas(place, usage) for place, usage in sorted(used.items(), key=lambda pair: pair[0])]
        await self._database.write(lambda connection: connection.execute(_COUNT, rows).close())

    async def _unique(self, write: Callable[[Connection], T], name: str) -> T:
        try:
            return await self._database.write(write)
        except IntegrityError as error:
            raise _taken(name) from error


def no_template(ref: str) -> TemplateNotFound:
    return TemplateNotFound(f"There is no template `{ref[:128]}` here.", param="template")


def no_version(head: Head, number: int) -> TemplateNotFound:
    return TemplateNotFound(f"The template `{head.name}` has no version {number}.", param="version")


def _taken(name: str) -> Conflict:
    return Conflict(f"There is a template `{name}` already.", param="name")


def _heads(tenant: str, ref: str) -> Select[Any]:
    by = templates.c.id if ref.startswith(f"{ID_PREFIX}_") else templates.c.name
    return select(templates).where(templates.c.tenant == tenant, by == ref)


def _place(tenant: str, template: str) -> tuple[Any, Any]:
    return versions.c.tenant == tenant, versions.c.template == template


def _with_newest() -> Select[Any]:
    made_at = versions.c.created_at.label("made_at")
    return select(templates, versions.c.document, versions.c.source, made_at).join(
        versions, and_(versions.c.template == templates.c.id, _newest())
    )


def _newest() -> Any:
    return and_(versions.c.version == templates.c.version, versions.c.tenant == templates.c.tenant)


def _locked(connection: Connection, tenant: str, ref: str) -> Head:
    row = connection.execute(_heads(tenant, ref).with_for_update()).one_or_none()
    if row is None:
        raise no_template(ref)
    return _head(row)


def _create(connection: Connection, tenant: str, template: str, name: str, draft: Draft, most: int) -> Head:
    if connection.scalar(select(tenants.c.id).where(tenants.c.id == tenant)) is None:
        raise NotFound(f"There is no tenant `{tenant}`.")
    if connection.execute(_heads(tenant, name)).one_or_none() is not None:
        raise _taken(name)
    count = select(func.count()).select_from(templates).where(templates.c.tenant == tenant)
    if (connection.scalar(count) or 0) >= most:
        raise Conflict(f"A tenant may have at most {most} templates.")
    head = Head(id=template, tenant=tenant, name=name, version=0, labels={}, created_at=draft.at)
    row = {"id": template, "tenant": tenant, "name": name, "version": 0, "labels": "{}"}
    connection.execute(insert(templates), [{**row, "created_at": draft.at}])
    return _append(connection, head, draft, 1)


def _append(connection: Connection, head: Head, draft: Draft, keep: int) -> Head:
    number = head.version + 1
    place = {"tenant": head.tenant, "template": head.id, "version": number}
    document = draft.content.model_dump_json(exclude_none=True)
    version = {**place, "document": document, "source": draft.source, "created_at": draft.at}
    connection.execute(insert(versions), [version])
    connection.execute(insert(usages), [{**place, **_NOTHING}])
    labels = {**head.labels, **{label: {number: 1.0} for label in draft.labels}}
    head = replace(head, version=number, labels=labels, file_digest=draft.file_digest or head.file_digest)
    labelled = {number for weights in labels.values() for number in weights}
    old = (versions.c.version <= number - keep, versions.c.version.not_in(labelled))
    connection.execute(delete(versions).where(*_place(head.tenant, head.id), *old))
    return _put(connection, head)


def _put(connection: Connection, head: Head) -> Head:
    if len(head.labels) > MOST_LABELS:
        raise Conflict(f"A template may have at most {MOST_LABELS} labels.", param="labels")
    labels = orjson.dumps(head.labels, option=orjson.OPT_NON_STR_KEYS).decode()
    values = {"version": head.version, "labels": labels, "file_digest": head.file_digest}
    mine = and_(templates.c.tenant == head.tenant, templates.c.id == head.id)
    connection.execute(update(templates).where(mine).values(**values))
    return head


def _head(row: Row[Any]) -> Head:
    labels = {
        label: {int(number): float(weight) for number, weight in weights.items()}
        for label, weights in orjson.loads(row.labels).items()
    }
    return Head(
        id=row.id,
        tenant=row.tenant,
        name=row.name,
        version=row.version,
        labels=labels,
        created_at=row.created_at,
        file_digest=row.file_digest,
    )


def _versions(connection: Connection, query: Select[Any]) -> list[Version]:
    return [_version(row, row.version, row.created_at) for row in connection.execute(query)]


def _version(row: Row[Any], number: int, at: float) -> Version:
    content = Content.model_validate_json(row.document)
    return Version(number=number, content=content, source=row.source, created_at=at)


_SUMS = tuple(field.name for field in fields(Usage) if field.name not in ("cost", "last_used_at"))
_NOTHING: Mapping[str, object] = {**dict.fromkeys(_SUMS, 0), "cost_nano": 0, "last_used_at": None}


def _count(names: Iterable[str]) -> Any:
    added = {name: usages.c[name] + bindparam(f"d_{name}", type_=usages.c[name].type) for name in names}
    return (
        update(usages)
        .where(
            usages.c.tenant == bindparam("b_tenant"),
            usages.c.template == bindparam("b_template"),
            usages.c.version == bindparam("b_version"),
        )
        .values(
            **added,
            last_used_at=func.coalesce(
                bindparam("d_at", type_=usages.c.last_used_at.type), usages.c.last_used_at
            ),
        )
    )


_COUNT = _count((*_SUMS, "cost_nano"))


def _deltas(place: Place, usage: Usage) -> dict[str, object]:
    tenant, template, version = place
    return {
        "b_tenant": tenant,
        "b_template": template,
        "b_version": version,
        "d_cost_nano": usage.cost,
        "d_at": usage.last_used_at,
        **{f"d_{name}": getattr(usage, name) for name in _SUMS},
    }


def _usage(row: RowMapping) -> Usage:
    sums = {name: row[name] for name in _SUMS}
    return Usage(**sums, cost=Nano(int(row["cost_nano"])), last_used_at=row["last_used_at"])
