"""The composition root: one object builds the rooms from the settings and owns their lifetime."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Any, Self

from sentinella_plugins.accounting.service import AccountingService
from sentinella_plugins.accounting.stage import AccountingStage
from sentinella_plugins.auth.models import StaticKeys
from sentinella_plugins.auth.service import AuthService
from sentinella_plugins.auth.stage import AuthStage
from sentinella_plugins.bootstrap import Keys
from sentinella_plugins.fallback.chains import Chains
from sentinella_plugins.fallback.models import Preferences
from sentinella_plugins.fallback.service import FallbackService
from sentinella_plugins.kernel.access import may_use
from sentinella_plugins.kernel.call import Call
from sentinella_plugins.kernel.catalogue import Catalogue
from sentinella_plugins.kernel.clock import Clock, SystemClock
from sentinella_plugins.kernel.events import Events
from sentinella_plugins.kernel.secrets import Secret
from sentinella_plugins.pipeline import Pipeline
from sentinella_plugins.replay.service import ReplayService
from sentinella_plugins.replay.stage import ReplayStage
from sentinella_plugins.router.service import RouterService
from sentinella_plugins.router.stage import RouterStage
from sentinella_plugins.settings import Settings
from sentinella_plugins.storage import open_storage
from sentinella_plugins.tenancy.service import TenancyService
from sentinella_plugins.tenancy.stage import TenancyStage
from sentinella_plugins.tracing.service import TracingService
from sentinella_plugins.tracing.stage import TracingStage

logger = logging.getLogger(__name__)


class Sentinella:
    """`async with Sentinella(settings, keys, catalogue) as app:`. Building it touches nothing; entering opens
    it."""

    def __init__(
        self,
        settings: Settings,
        keys: Keys,
        catalogue: Catalogue,
        chains: Chains | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.settings = settings
        self.catalogue = catalogue
        self.clock = clock or SystemClock()
        self.events = Events()
        self.storage = open_storage(settings.storage, settings.data_dir, self.clock)
        database, counters = self.storage.database, self.storage.counters
        static: StaticKeys = {"admin": Secret(keys.master_key), "member": Secret(keys.api_key)}
        self.tracing = TracingService(settings.tracing, known=lambda model: catalogue.find(model) is not None)
        self.auth = AuthService(database, self.clock, settings.auth, static)
        self.tenancy = TenancyService(
            database, counters, catalogue, self.events, self.clock, settings.tenancy
        )
        self.accounting = AccountingService(
            database,
            self.clock,
            settings.accounting,
            settings.data_dir / "spool",
            on_spool=self.tracing.metrics.ledger_spooled,
        )
        self.fallback = FallbackService(
            database, catalogue, self.events, self.clock, settings.fallback, chains
        )
        self.replay = ReplayService(database, self.events, self.clock, settings.replay)
        self.router = RouterService(catalogue, settings.router)
        self.pipeline = self._pipeline()
        self.tracing.listen(self.events)
        self.accounting.listen(self.events)
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self) -> None:
        await self.storage.open()
        await self.tenancy.open()
        loops = (self.tenancy.run, self.accounting.run, self.fallback.run, self.replay.run)
        self._tasks = [asyncio.create_task(loop(), name=loop.__qualname__) for loop in loops]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.fallback.close()
        await self.auth.close()
        await self.accounting.close()
        await self.storage.close()

    async def allowed(self, call: Call) -> Callable[[str], bool]:
        """Which models the tenant and the key of a call may use."""
        tenant = await self.tenancy.tenant(call.principal.tenant)
        return partial(may_use, call.principal.models, tenant.models)

    async def wishes(self, call: Call) -> tuple[Callable[[str], bool], Preferences]:
        """Which models may stand in for one that fails, and which of them this tenant or request prefers."""
        tenant = await self.tenancy.tenant(call.principal.tenant)
        asked: Any = call.options.routing
        preferences = Preferences(
            providers=asked.get("providers") or tenant.preferences.providers,
            exclude=(*tenant.preferences.exclude, *(asked.get("exclude") or ())),
            chains=tenant.preferences.fallbacks,
            stream_recovery=tenant.preferences.stream_recovery,
        )
        return partial(may_use, call.principal.models, tenant.models), preferences

    def _pipeline(self) -> Pipeline:
        """The order of a call's journey: here and nowhere else."""
        tracing, tenancy = TracingStage(self.tracing), TenancyStage(self.tenancy)
        replay = ReplayStage(self.replay)
        return Pipeline(
            gate=(tracing, AuthStage(self.auth)),
            # A price needs a model, so the router chooses before tenancy reserves.
            inbound=(RouterStage(self.router, self.allowed), tenancy, replay),
            # A line without its settlement is found by the next heartbeat; a settlement without its line is
            # found by nobody.
            outbound=(AccountingStage(self.accounting), tenancy, replay, tracing),
        )
