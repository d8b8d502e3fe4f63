"""Which tools there are: each tenant's own and the operator's."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

from sentinella_plugins.kernel.access import Recent
from sentinella_plugins.kernel.call import Principal
from sentinella_plugins.kernel.clock import Clock
from sentinella_plugins.kernel.errors import Forbidden, SentinellaError, SettingsError
from sentinella_plugins.net.guard import Guard
from sentinella_plugins.tools import secrecy
from sentinella_plugins.tools.config import ToolsConfig
from sentinella_plugins.tools.models import InvalidTool, Registered, Secrets, ToolNotFound
from sentinella_plugins.tools.request import check_placeholders, example
from sentinella_plugins.tools.schema import check_schema
from sentinella_plugins.tools.sealing import Vault
from sentinella_plugins.tools.specs import AnySpec, HttpTool, McpServer, PythonTool
from sentinella_plugins.tools.store import ToolStore


class Registry:
    def __init__(
        self, store: ToolStore, vault: Vault, guard: Guard, clock: Clock, config: ToolsConfig
    ) -> None:
        self._store = store
        self._vault = vault
        self._guard = guard
        self._clock = clock
        self._config = config
        self._recent: Recent[str, tuple[Registered, ...]] = Recent(
            store.all, clock, ttl_s=config.cache_ttl_s, size=config.cache_size
        )
        self._global: dict[str, Registered] = {}
        self._global_secrets: dict[str, Secrets] = {}

    def open(self, env: Mapping[str, str]) -> None:
        """Reads the operator's tools. Raises `SettingsError`."""
        for spec in self._config.registered:
            if spec.name in self._global:
                raise SettingsError(f"tools.registered: `{spec.name}` is there twice")
            try:
                _check(spec, self._guard, self._config)
                self._global_secrets[spec.name] = secrecy.of_operator(spec, env)
            except SentinellaError as error:
                raise SettingsError(f"tools.registered: `{spec.name}`: {error.message}") from None
            self._global[spec.name] = Registered(tenant=None, spec=spec)

    async def add(self, who: Principal, spec: AnySpec) -> Registered:
        self._check_role(who)
        await asyncio.to_thread(_check, spec, self._guard, self._config)
        now = self._clock.now()
        sealed = self._vault.seal(_owner(who.tenant, spec.name), secrecy.given(spec))
        tool = Registered(tenant=who.tenant, spec=spec, sealed=sealed, created_at=now, updated_at=now)
        await self._store.add(who.tenant, tool, self._config.max_per_tenant)
        self._recent.forget(who.tenant)
        return tool

    async def change(self, who: Principal, name: str, spec: AnySpec) -> Registered:
        """Nulls keep the secrets that are there, as long as the URL leads to the same server."""
        self._check_role(who)
        if spec.name != name:
            raise InvalidTool("A tool cannot be renamed: `name` must be that of the path.", param="name")
        await asyncio.to_thread(_check, spec, self._guard, self._config)
        now = self._clock.now()

        def change(old: Registered) -> Registered:
            secrets: Secrets = {}
            if secrecy.keeps(spec):
                secrecy.check_keeping(old.spec, spec)
                secrets = self.secrets_of(old)
            sealed = self._vault.seal(_owner(who.tenant, name), secrecy.kept(spec, secrets))
            return replace(old, spec=spec, sealed=sealed, version=old.version + 1, updated_at=now)

        changed = await self._store.change(who.tenant, name, change)
        self._recent.forget(who.tenant)
        return changed

    async def remove(self, who: Principal, name: str) -> None:
        self._check_role(who)
        await self._store.remove(who.tenant, name)
        self._recent.forget(who.tenant)

    async def get(self, tenant: str, name: str) -> Registered:
        """The tenant's own before the operator's. Raises `ToolNotFound`."""
        try:
            return await self._store.get(tenant, name)
        except ToolNotFound:
            found = self._global.get(name)
            if found is None:
                raise
            return found

    async def all(self, tenant: str) -> tuple[Registered, ...]:
        """By name, as they are now."""
        return self._with_global(await self._store.all(tenant))

    async def recent(self, tenant: str) -> dict[str, Registered]:
        """By name, at most `cache_ttl_s` old."""
        own = await self._recent.get(tenant) or ()
        return {tool.spec.name: tool for tool in self._with_global(own)}

    def operators(self) -> dict[str, Registered]:
        return dict(self._global)

    def secrets_of(self, tool: Registered) -> Secrets:
        """Raises `SecretUnreadable`."""
        if tool.tenant is None:
            return self._global_secrets[tool.spec.name]
        return self._vault.open(_owner(tool.tenant, tool.spec.name), tool.sealed)

    def _with_global(self, own: tuple[Registered, ...]) -> tuple[Registered, ...]:
        merged = {**self._global, **{tool.spec.name: tool for tool in own}}
        return tuple(sorted(merged.values(), key=lambda tool: tool.spec.name))

    def _check_role(self, who: Principal) -> None:
        if self._config.registration == "off":
            raise Forbidden("This gateway takes no tools over HTTP: its operator names them in the settings.")
        if self._config.registration == "admin" and who.role != "admin":
            raise Forbidden("Registering tools needs an administrator's key.")


def _check(spec: AnySpec, guard: Guard, config: ToolsConfig) -> None:
    """Raises an error that says what is wrong with a tool. Takes milliseconds."""
    if isinstance(spec, HttpTool | PythonTool):
        check_schema(spec.parameters, max_bytes=config.max_schema_bytes, max_depth=config.max_schema_depth)
    if isinstance(spec, HttpTool):
        guard.url(example(spec))
        check_placeholders(spec)
    if isinstance(spec, McpServer):
        guard.url(spec.url)


def _owner(tenant: str, name: str) -> str:
    return f"{tenant}/{name}"
