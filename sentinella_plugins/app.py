"""The composition root: one object builds the rooms from the settings and owns their lifetime."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from functools import partial
from typing import Any, Self

from sentinella_plugins.accounting.service import AccountingService
from sentinella_plugins.accounting.stage import AccountingStage
from sentinella_plugins.auth.models import StaticKeys
from sentinella_plugins.auth.service import AuthService
from sentinella_plugins.auth.stage import AuthStage
from sentinella_plugins.bootstrap import Keys
from sentinella_plugins.cache.invalidation import Invalidation
from sentinella_plugins.cache.models import Meaning
from sentinella_plugins.cache.service import CacheService
from sentinella_plugins.cache.stage import CacheAnswer, CacheKeep, CacheLookup
from sentinella_plugins.cache.verifier import DamagedVerifier, Verifier
from sentinella_plugins.fallback.chains import Chains
from sentinella_plugins.fallback.models import Preferences
from sentinella_plugins.fallback.service import FallbackService
from sentinella_plugins.kernel.access import may_use
from sentinella_plugins.kernel.asking import Ask, Question
from sentinella_plugins.kernel.call import Call, Outcome
from sentinella_plugins.kernel.catalogue import Catalogue
from sentinella_plugins.kernel.clock import Clock, SystemClock
from sentinella_plugins.kernel.errors import Unavailable
from sentinella_plugins.kernel.events import Events, TenantDeleted
from sentinella_plugins.kernel.secrets import Secret
from sentinella_plugins.memory.archive import Shelf
from sentinella_plugins.memory.service import MemoryService
from sentinella_plugins.memory.stage import MemoryStage
from sentinella_plugins.pipeline import Pipeline
from sentinella_plugins.replay.service import ReplayService
from sentinella_plugins.replay.stage import ReplayStage
from sentinella_plugins.router.models import Policy
from sentinella_plugins.router.service import RouterService
from sentinella_plugins.router.stage import RouterStage
from sentinella_plugins.settings import Settings
from sentinella_plugins.storage import open_storage
from sentinella_plugins.storage.entries import open_entries
from sentinella_plugins.storage.shared import SharedValues, open_shared
from sentinella_plugins.templates.service import TemplatesService
from sentinella_plugins.templates.stage import TemplatesStage
from sentinella_plugins.tenancy.service import TenancyService
from sentinella_plugins.tenancy.stage import TenancyGlance, TenancyStage
from sentinella_plugins.tools.service import ToolsService
from sentinella_plugins.tools.stage import ToolsStage
from sentinella_plugins.tracing.service import TracingService
from sentinella_plugins.tracing.stage import TracingStage
from sentinella_plugins.vectors import make_encoder
from sentinella_plugins.vectors.remote import Embed
from sentinella_plugins.vectors.shelves import VectorIndex

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
        embed: Embed | None = None,
    ) -> None:
        self.ask: Ask | None = None
        self.settings = settings
        self.catalogue = catalogue
        self.clock = clock or SystemClock()
        self.events = Events()
        self.storage = open_storage(settings.storage, settings.data_dir, self.clock)
        self.tracing = TracingService(settings.tracing, known=lambda model: catalogue.find(model) is not None)
        self.encoder = make_encoder(settings.vectors, embed)
        self._build_foundations(keys, chains)
        self._build_memory_and_cache()
        self._build_router_tools_and_templates()
        self.pipeline = self._pipeline()
        self.tracing.listen(self.events)
        self.accounting.listen(self.events)
        self.events.subscribe(TenantDeleted, self._forget)
        self._tasks: list[asyncio.Task[None]] = []

    def _build_foundations(self, keys: Keys, chains: Chains | None) -> None:
        database, settings, metrics = self.storage.database, self.settings, self.tracing.metrics
        static: StaticKeys = {"admin": Secret(keys.master_key), "member": Secret(keys.api_key)}
        self.auth = AuthService(database, self.clock, settings.auth, static)
        self.tenancy = TenancyService(
            database, self.storage.counters, self.catalogue, self.events, self.clock, settings.tenancy
        )
        spool = settings.data_dir / "spool"
        self.accounting = AccountingService(
            database, self.clock, settings.accounting, spool, on_spool=metrics.ledger_spooled
        )
        self.fallback = FallbackService(
            database, self.catalogue, self.events, self.clock, settings.fallback, chains
        )
        self.replay = ReplayService(database, self.events, self.clock, settings.replay)

    def _build_memory_and_cache(self) -> None:
        database, settings, metrics = self.storage.database, self.settings, self.tracing.metrics
        self.histories = self._histories()
        self.memory = MemoryService(
            database,
            self.catalogue,
            self.events,
            self.clock,
            settings.memory,
            ask=self._asks,
            encoder=self.encoder,
            shared=self.histories,
            on_summary=metrics.session_summarised,
        )
        self.entries = open_entries(settings.storage, database, self.clock, log_size=settings.cache.log_size)
        self.cache = CacheService(
            database,
            self.entries,
            self.events,
            self.clock,
            settings.cache,
            meaning=self._meaning(),
            allowed=self.allowed,
            folder=settings.data_dir,
            on_lag=metrics.cache_lag,
            on_check=metrics.cache_checked,
        )
        self.cache.ask = self._asks

    def _histories(self) -> SharedValues | None:
        config = self.settings.memory.shared
        if not config.enabled:
            return None
        return open_shared(
            self.settings.storage,
            "memory",
            max_bytes=config.max_bytes,
            ttl_s=config.ttl_s,
            timeout_s=config.timeout_s,
        )

    def _build_router_tools_and_templates(self) -> None:
        database, settings = self.storage.database, self.settings
        self.tools = ToolsService(
            database, self.events, self.clock, settings.tools, settings.data_dir, os.environ
        )
        self.router = RouterService(
            self.catalogue,
            settings.router,
            database=database,
            events=self.events,
            clock=self.clock,
            encoder=self.encoder,
            broken=self.fallback.blocked,
            ask=self._asks,
        )
        self.templates = TemplatesService(database, self.events, self.clock, settings.templates)

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self) -> None:
        await self.storage.open()
        await self.entries.open()
        await self.encoder.open()
        await self.tenancy.open()
        await self.router.open()
        await self.tools.open()
        await self.templates.open()
        loops = (
            self.tenancy.run,
            self.accounting.run,
            self.fallback.run,
            self.replay.run,
            self.memory.run,
            self.tools.tend,
            self.cache.run,
            self.router.run,
            self.templates.run,
        )
        self._tasks = [asyncio.create_task(loop(), name=loop.__qualname__) for loop in loops]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for room in (
            self.cache,
            self.router,
            self.templates,
            self.memory,
            self.tools,
            self.encoder,
            self.fallback,
        ):
            await room.close()
        await self.auth.close()
        await self.accounting.close()
        await self.entries.close()
        if self.histories is not None:
            await self.histories.close()
        await self.storage.close()

    async def _forget(self, event: TenantDeleted) -> None:
        """Each room for itself: one that fails does not keep the others from it."""
        work = (
            self.memory.library.delete_all(Shelf(event.tenant)),
            self.cache.invalidate(event.tenant, Invalidation()),
            self.router.forget(event.tenant),
        )
        for failed in await asyncio.gather(*work, return_exceptions=True):
            if isinstance(failed, BaseException):
                logger.error("something is left of the deleted tenant `%s`: %s", event.tenant, failed)

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

    async def policy(self, call: Call) -> Policy:
        """What the router may choose from for a call, and what its tenant prefers."""
        tenant = await self.tenancy.tenant(call.principal.tenant)
        wanted = tenant.preferences
        return Policy(
            allowed=partial(may_use, call.principal.models, tenant.models),
            providers=wanted.providers,
            exclude=wanted.exclude,
            objective=wanted.objective,
        )

    def _meaning(self) -> Meaning | None:
        """Without its verifier the cache answers equal requests only: that is no reason not to start."""
        try:
            return Meaning(VectorIndex(self.settings.vectors.index), self.encoder, Verifier())
        except DamagedVerifier as error:
            logger.error("the cache does without similar questions: %s", error)
            return None

    async def _asks(self, question: Question) -> Outcome:
        if self.ask is None:
            raise Unavailable("No model can be asked yet.")
        return await self.ask(question)

    def _pipeline(self) -> Pipeline:
        """The order of a call's journey: here and nowhere else."""
        tracing, tenancy = TracingStage(self.tracing), TenancyStage(self.tenancy)
        templates = TemplatesStage(self.templates)
        replay, memory = ReplayStage(self.replay), MemoryStage(self.memory)
        router = RouterStage(self.router, self.policy)
        return Pipeline(
            gate=(tracing, AuthStage(self.auth), TenancyGlance(self.tenancy)),
            # A price needs a model, so the router chooses before tenancy reserves. What the cache knows is
            # given after tenancy has counted the request.
            inbound=(
                templates,
                memory,
                ToolsStage(self.tools),
                CacheLookup(self.cache),
                router,
                tenancy,
                CacheAnswer(),
                replay,
            ),
            outbound=(CacheKeep(self.cache), router, templates, tracing),
            # A line without its settlement is found by the next heartbeat; a settlement without its line is
            # found by nobody.
            books=(AccountingStage(self.accounting), tenancy, replay, memory),
        )
