"""Makes keys, and tells who holds one."""

from __future__ import annotations

import asyncio
import logging
import re
from datetime import UTC, datetime

from sentinella_plugins.auth.config import AuthConfig
from sentinella_plugins.auth.models import ApiKey, IssuedKey, KeyPage, KnownKey, NewKey, StaticKeys
from sentinella_plugins.auth.store import USED_EVERY_S, KeyStore
from sentinella_plugins.kernel.access import TENANT_ID, Recent
from sentinella_plugins.kernel.call import Principal, Role
from sentinella_plugins.kernel.clock import Clock
from sentinella_plugins.kernel.errors import BadRequest, Conflict, NotFound, Unauthenticated, Unavailable
from sentinella_plugins.kernel.ids import new_id
from sentinella_plugins.kernel.secrets import hash_key, hint, is_well_formed, new_key, same
from sentinella_plugins.storage.database import Database

logger = logging.getLogger(__name__)

_GATHER_S = 1.0
_RETRY_S = 60.0
_ASK = "Ask your administrator for a new one."
_KEY_ID = re.compile(r"key_[0-9a-f]{32}")
_STATIC_IDS: dict[Role, str] = {"admin": "master", "member": "default"}


class AuthService:
    def __init__(self, database: Database, clock: Clock, config: AuthConfig, static_keys: StaticKeys) -> None:
        self._store = KeyStore(database)
        self._clock = clock
        self._config = config
        given = {role: key.reveal() for role, key in sorted(static_keys.items())}
        self._static = [(hash_key(key), _static(role)) for role, key in given.items() if key]
        self._keys: Recent[str, KnownKey] = Recent(
            self._store.find, clock, ttl_s=config.cache_ttl_s, size=config.cache_size
        )
        self._used: dict[str, float] = {}
        self._noting: asyncio.Task[None] | None = None

    async def authenticate(self, credential: str | None) -> Principal:
        """Who holds this key. `Unauthenticated` tells whether it is missing, unknown, revoked or expired."""
        if not credential:
            raise Unauthenticated
        key_hash = hash_key(credential)
        for static_hash, principal in self._static:
            if same(static_hash, key_hash):
                return principal
        if not (credential.isascii() and is_well_formed(credential)):
            raise Unauthenticated("This API key is mistyped, cut short or not from this gateway.")
        known = await self._find(key_hash)
        if known is None:
            raise Unauthenticated(f"The API key {hint(credential)} is unknown.")
        now = self._clock.now()
        _check(known, now)
        self._note_use(known, now)
        return known.principal

    async def create(self, tenant: str, new: NewKey) -> IssuedKey:
        """`NotFound` for an unknown tenant. The key itself is in the answer and nowhere else."""
        now = self._clock.now()
        if new.expires_at is not None and new.expires_at <= now:
            raise BadRequest("`expires_at` must be in the future, in Unix seconds.", param="expires_at")
        key = _issue(_known_shape(tenant), new, now)
        await self._store.add(key)
        return key

    async def get(self, tenant: str, key_id: str) -> ApiKey:
        return await self._store.get(*_checked(tenant, key_id))

    async def page(self, tenant: str, *, limit: int = 20, after: str | None = None) -> KeyPage:
        """Keys that are not revoked, oldest first."""
        keys = await self._store.page(_known_shape(tenant), limit + 1, after)
        return KeyPage(data=tuple(keys[:limit]), has_more=len(keys) > limit)

    async def revoke(self, tenant: str, key_id: str) -> None:
        """Holds at once in this worker, and everywhere after `cache_ttl_s`."""
        self._keys.forget(await self._store.revoke(*_checked(tenant, key_id), self._clock.now()))

    async def rotate(self, tenant: str, key_id: str, grace_s: int = 0) -> IssuedKey:
        """A new key with the same name, role, models, limits and expiry; the old one lives `grace_s` more."""
        old = await self.get(tenant, key_id)
        now = self._clock.now()
        if old.expires_at is not None and old.expires_at <= now:
            raise Conflict(f"Key `{key_id}` has expired. Create a new one.")
        key = _issue(tenant, old, now, replaces=old.id)
        self._keys.forget(await self._store.rotate(key, now=now, grace_s=grace_s))
        return key

    async def close(self) -> None:
        """Writes down the last uses that are still to be noted."""
        if self._noting is not None:
            self._noting.cancel()
        await self._write_uses()

    async def _find(self, key_hash: str) -> KnownKey | None:
        try:
            return await self._keys.get(key_hash)
        except Unavailable:
            known = self._keys.last(key_hash) if self._config.on_failure == "open" else None
            if known is None:
                raise
            return known

    def _note_use(self, known: KnownKey, now: float) -> None:
        if now - (known.last_used_at or 0.0) < USED_EVERY_S or len(self._used) >= self._config.cache_size:
            return
        self._used.setdefault(known.principal.key_id, now)
        if self._noting is None or self._noting.done():
            self._noting = asyncio.ensure_future(self._note_uses())

    async def _note_uses(self) -> None:
        await asyncio.sleep(_GATHER_S)
        if not await self._write_uses():
            await asyncio.sleep(_RETRY_S)

    async def _write_uses(self) -> bool:
        used, self._used = self._used, {}
        try:
            if used:
                await self._store.touch(used)
        except Exception as error:
            logger.warning("the last use of %d keys could not be noted: %s", len(used), error)
            return False
        return True


def _static(role: Role) -> Principal:
    return Principal(tenant="default", key_id=_STATIC_IDS[role], key_name=_STATIC_IDS[role], role=role)


def _check(known: KnownKey, now: float) -> None:
    if known.revoked:
        raise Unauthenticated(f"The API key {known.hint} has been revoked. {_ASK}")
    if known.expires_at is not None and known.expires_at <= now:
        at = datetime.fromtimestamp(known.expires_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        raise Unauthenticated(f"The API key {known.hint} expired at {at}. {_ASK}")


def _known_shape(tenant: str) -> str:
    if not TENANT_ID.fullmatch(tenant):
        raise NotFound("There is no such tenant.")
    return tenant


def _checked(tenant: str, key_id: str) -> tuple[str, str]:
    if not _KEY_ID.fullmatch(key_id):
        raise NotFound("There is no such key in this tenant.")
    return _known_shape(tenant), key_id


def _issue(tenant: str, new: NewKey, now: float, *, replaces: str | None = None) -> IssuedKey:
    key = new_key()
    return IssuedKey(
        id=new_id("key"),
        tenant=tenant,
        key=key,
        hint=hint(key),
        name=new.name,
        role=new.role,
        models=new.models,
        limits=new.limits,
        created_at=int(now),
        expires_at=new.expires_at,
        replaces=replaces,
    )
