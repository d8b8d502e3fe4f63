"""Keys in the database."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, Select, Update, bindparam, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from sentinella_plugins.auth.models import ApiKey, IssuedKey, KnownKey
from sentinella_plugins.kernel.call import Principal
from sentinella_plugins.kernel.errors import Conflict, NotFound
from sentinella_plugins.kernel.limits import Limits
from sentinella_plugins.kernel.secrets import hash_key
from sentinella_plugins.storage.database import Database
from sentinella_plugins.storage.tables import api_keys, tenants

USED_EVERY_S = 60
_PLAIN = {"id", "tenant", "hint", "name", "role", "created_at", "expires_at", "replaces"}


class KeyStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, key_hash: str) -> KnownKey | None:
        """Whoever holds the key of this hash, revoked and expired ones included."""
        query = select(api_keys).where(api_keys.c.hash == key_hash)
        row = await self._database.read(lambda connection: connection.execute(query).one_or_none())
        return None if row is None else _known(row)

    async def add(self, key: IssuedKey) -> None:
        try:
            await self._database.write(lambda connection: _insert(connection, key))
        except IntegrityError as error:
            raise _no_tenant(key.tenant) from error

    async def get(self, tenant: str, key_id: str) -> ApiKey:
        query = _live(tenant, key_id)
        return _key(await self._database.read(lambda connection: _one(connection, query, key_id)))

    async def page(self, tenant: str, limit: int, after: str | None) -> Sequence[ApiKey]:
        query = _live(tenant).where(api_keys.c.id > (after or "")).order_by(api_keys.c.id).limit(limit)

        def read(connection: Connection) -> Sequence[Row[Any]]:
            rows = connection.execute(query).all()
            if not rows and connection.scalar(select(tenants.c.id).where(tenants.c.id == tenant)) is None:
                raise _no_tenant(tenant)
            return rows

        return [_key(row) for row in await self._database.read(read)]

    async def revoke(self, tenant: str, key_id: str, now: float) -> str:
        """The hash of the key that was revoked."""

        def write(connection: Connection) -> str:
            row = _one(connection, _live(tenant, key_id).with_for_update(), key_id)
            connection.execute(_change(key_id).values(revoked_at=now))
            return str(row.hash)

        return await self._database.write(write)

    async def rotate(self, key: IssuedKey, *, now: float, grace_s: int) -> str:
        """Puts `key` in the place of the one it replaces; returns the hash of that one."""
        old_id = key.replaces or ""

        def write(connection: Connection) -> str:
            old = _one(connection, _live(key.tenant, old_id).with_for_update(), old_id)
            heir = connection.scalar(select(api_keys.c.id).where(api_keys.c.replaces == old_id))
            if heir is not None:
                raise Conflict(f"Key `{old_id}` has been rotated to `{heir}` already: rotate that one.")
            end = min(now + grace_s, old.expires_at or math.inf)
            ends = {"expires_at": end} if grace_s else {"revoked_at": now}
            connection.execute(_change(old_id).values(**ends))
            _insert(connection, key)
            return str(old.hash)

        return await self._database.write(write)

    async def touch(self, used: Mapping[str, float]) -> None:
        """Notes when keys were last used, unless another worker did within the last minute."""
        seen = bindparam("seen", type_=api_keys.c.last_used_at.type)
        stale = or_(api_keys.c.last_used_at.is_(None), api_keys.c.last_used_at <= seen - USED_EVERY_S)
        change = update(api_keys).where(api_keys.c.id == bindparam("key"), stale).values(last_used_at=seen)
        # Sorted, so that two workers never wait for each other's rows crosswise.
        rows = [{"key": key_id, "seen": at} for key_id, at in sorted(used.items())]
        await self._database.write(lambda connection: connection.execute(change, rows).close())


def _live(tenant: str, key_id: str | None = None) -> Select[Any]:
    query = select(api_keys).where(api_keys.c.tenant == tenant, api_keys.c.revoked_at.is_(None))
    return query if key_id is None else query.where(api_keys.c.id == key_id)


def _change(key_id: str) -> Update:
    return update(api_keys).where(api_keys.c.id == key_id)


def _insert(connection: Connection, key: IssuedKey) -> None:
    values = key.model_dump(include=_PLAIN)
    models = None if key.models is None else json.dumps(key.models)
    row = {**values, "hash": hash_key(key.key), "models": models, "limits": key.limits.model_dump_json()}
    connection.execute(insert(api_keys).values(**row))


def _one(connection: Connection, query: Select[Any], key_id: str) -> Row[Any]:
    row = connection.execute(query).one_or_none()
    if row is None:
        raise NotFound(f"There is no key `{key_id}` in this tenant.")
    return row


def _no_tenant(tenant: str) -> NotFound:
    return NotFound(f"There is no tenant `{tenant}`.")


def _known(row: Row[Any]) -> KnownKey:
    principal = Principal(
        tenant=row.tenant,
        key_id=row.id,
        key_name=row.name,
        role=row.role,
        models=_models(row),
        limits=Limits.model_validate_json(row.limits),
    )
    return KnownKey(principal, row.hint, row.expires_at, row.revoked_at is not None, row.last_used_at)


def _key(row: Row[Any]) -> ApiKey:
    return ApiKey(
        id=row.id,
        tenant=row.tenant,
        hint=row.hint,
        name=row.name,
        role=row.role,
        models=_models(row),
        limits=Limits.model_validate_json(row.limits),
        created_at=int(row.created_at),
        expires_at=_seconds(row.expires_at),
        last_used_at=_seconds(row.last_used_at),
        replaces=row.replaces,
    )


def _models(row: Row[Any]) -> tuple[str, ...] | None:
    return None if row.models is None else tuple(json.loads(row.models))


def _seconds(at: float | None) -> int | None:
    return None if at is None else int(at)
