"""Tools in the database."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import ColumnElement, Connection, Row, and_, delete, func, insert, select, update

from sentinella_plugins.kernel.errors import NotFound
from sentinella_plugins.storage.database import Database
from sentinella_plugins.storage.tables import tenants, tools
from sentinella_plugins.tools.models import Registered, ToolExists, ToolNotFound, TooManyTools
from sentinella_plugins.tools.specs import TenantSpec

_SPEC: TypeAdapter[Any] = TypeAdapter(TenantSpec)


class ToolStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self, tenant: str) -> tuple[Registered, ...]:
        """By name."""
        query = select(tools).where(tools.c.tenant == tenant)
        rows = await self._database.read(lambda connection: connection.execute(query).all())
        return tuple(sorted(map(_registered, rows), key=lambda tool: tool.spec.name))

    async def get(self, tenant: str, name: str) -> Registered:
        query = select(tools).where(_is(tenant, name))
        return _found(await self._database.read(lambda connection: connection.execute(query).one_or_none()))

    async def add(self, tenant: str, tool: Registered, most: int) -> None:
        """Raises `ToolExists`, `TooManyTools`, and `NotFound` for an unknown tenant."""

        def write(connection: Connection) -> None:
            locked = select(tenants.c.id).where(tenants.c.id == tenant).with_for_update()
            if connection.scalar(locked) is None:
                raise NotFound(f"There is no tenant `{tenant}`.")
            name = tool.spec.name
            if connection.scalar(select(tools.c.name).where(_is(tenant, name))) is not None:
                raise ToolExists(
                    f"There is a tool `{name}`. `PUT /v1/tools/{name}` changes it.", param="name"
                )
            count = select(func.count()).select_from(tools).where(tools.c.tenant == tenant)
            if (connection.scalar(count) or 0) >= most:
                raise TooManyTools(f"There are {most} tools already, the most a tenant may have.")
            row = {"tenant": tenant, "name": name, "created_at": tool.created_at, **_values(tool)}
            connection.execute(insert(tools).values(**row))

        await self._database.write(write)

    async def change(self, tenant: str, name: str, change: Callable[[Registered], Registered]) -> Registered:
        """`change` may run twice. Raises `ToolNotFound` and whatever `change` raises."""

        def write(connection: Connection) -> Registered:
            query = select(tools).where(_is(tenant, name)).with_for_update()
            changed = change(_found(connection.execute(query).one_or_none()))
            connection.execute(update(tools).where(_is(tenant, name)).values(**_values(changed)))
            return changed

        return await self._database.write(write)

    async def remove(self, tenant: str, name: str) -> None:
        statement = delete(tools).where(_is(tenant, name))
        if not await self._database.write(lambda connection: connection.execute(statement).rowcount):
            raise ToolNotFound


def _is(tenant: str, name: str) -> ColumnElement[bool]:
    return and_(tools.c.tenant == tenant, tools.c.name == name)


def _values(tool: Registered) -> dict[str, object]:
    return {
        "document": tool.spec.model_dump_json(),
        "sealed": None if tool.sealed is None else tool.sealed.decode(),
        "version": tool.version,
        "updated_at": tool.updated_at,
    }


def _found(row: Row[Any] | None) -> Registered:
    if row is None:
        raise ToolNotFound
    return _registered(row)


def _registered(row: Row[Any]) -> Registered:
    return Registered(
        tenant=row.tenant,
        spec=_SPEC.validate_json(row.document),
        sealed=None if row.sealed is None else row.sealed.encode(),
        version=row.version,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
