"""Tenants in the database."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from sentinella_plugins.kernel.errors import Conflict, NotFound
from sentinella_plugins.storage.database import Database
from sentinella_plugins.storage.tables import tenants
from sentinella_plugins.tenancy.models import Tenant, TenantPatch, patched


class TenantStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, tenant_id: str) -> Tenant | None:
        query = select(tenants.c.document).where(tenants.c.id == tenant_id)
        document = await self._database.read(lambda connection: connection.scalar(query))
        return None if document is None else Tenant.model_validate_json(document)

    async def page(self, limit: int, after: str | None) -> Sequence[Tenant]:
        query = (
            select(tenants.c.document).where(tenants.c.id > (after or "")).order_by(tenants.c.id).limit(limit)
        )
        documents = await self._database.read(lambda connection: connection.scalars(query).all())
        return [Tenant.model_validate_json(document) for document in documents]

    async def add(self, tenant: Tenant) -> None:
        document = tenant.model_dump_json()
        row = {
            "id": tenant.id,
            "document": document,
            "created_at": tenant.created_at,
            "updated_at": tenant.created_at,
        }
        statement = insert(tenants).values(**row)
        try:
            await self._database.write(lambda connection: connection.execute(statement).close())
        except IntegrityError as error:
            raise Conflict(f"There is a tenant `{tenant.id}` already.", param="id") from error

    async def change(self, tenant_id: str, patch: TenantPatch, now: float) -> Tenant:
        def write(connection: Connection) -> Tenant:
            query = select(tenants.c.document).where(tenants.c.id == tenant_id).with_for_update()
            document = connection.scalar(query)
            if document is None:
                raise _unknown(tenant_id)
            tenant = patched(Tenant.model_validate_json(document), patch)
            values = {"document": tenant.model_dump_json(), "updated_at": now}
            connection.execute(update(tenants).where(tenants.c.id == tenant_id).values(**values))
            return tenant

        return await self._database.write(write)

    async def remove(self, tenant_id: str) -> None:
        """Its keys go with it."""
        statement = delete(tenants).where(tenants.c.id == tenant_id)
        if not await self._database.write(lambda connection: connection.execute(statement).rowcount):
            raise _unknown(tenant_id)


def _unknown(tenant_id: str) -> NotFound:
    return NotFound(f"There is no tenant `{tenant_id}`.")
