"""The whole of Sentinella inside one worker of LiteLLM's proxy."""

from __future__ import annotations

import asyncio
import atexit
import ctypes
import gc
import importlib
import logging
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import cache, partial
from pathlib import Path

from sentinella_plugins.api import application
from sentinella_plugins.api.public import VERSION
from sentinella_plugins.app import Sentinella
from sentinella_plugins.bootstrap import Keys, announce, ensure_keys
from sentinella_plugins.fallback.chains import Chains
from sentinella_plugins.gateway import deployments, honest_streams, host, litellm_cache
from sentinella_plugins.gateway.callbacks import Handler
from sentinella_plugins.gateway.catalogue import LiteLLMCatalogue
from sentinella_plugins.gateway.conductor import Conductor
from sentinella_plugins.gateway.demo_process import DemoProcess
from sentinella_plugins.gateway.engine import Engine
from sentinella_plugins.gateway.inner import Inner
from sentinella_plugins.gateway.key_auth import KeyAuth
from sentinella_plugins.gateway.litellm_prompts import Prompts
from sentinella_plugins.gateway.meter import Meter
from sentinella_plugins.gateway.metered import Metered
from sentinella_plugins.gateway.pipe import Pipe, Timeouts
from sentinella_plugins.gateway.replies import Replies
from sentinella_plugins.gateway.traffic import Traffic
from sentinella_plugins.gateway.wire import ASGIApp
from sentinella_plugins.kernel.errors import Unavailable
from sentinella_plugins.kernel.secrets import mask
from sentinella_plugins.settings import Settings, load_for_proxy
from sentinella_plugins.tracing import logs

logger = logging.getLogger(__name__)
_RETRY_S = 2.0
_ROUTER_WAIT_S = 0.02


class House:
    """Built when LiteLLM reads its configuration, opened in the background, ready when `ready()` returns."""

    def __init__(self, settings: Settings, keys: Keys) -> None:
        self.settings = settings
        self._keys = keys
        self.meter = Meter()
        self.handler = Handler(self.meter)
        self.catalogue = LiteLLMCatalogue(pipe=settings.gateway.pipe)
        self.aliases, chains = host.configured_fallbacks()
        self.app = Sentinella(
            settings,
            keys,
            self.catalogue,
            Chains.read(settings.fallback.chains, **chains),
            embed=partial(host.embed, settings.vectors.model or ""),
        )
        self.pipeline = self.app.pipeline
        self.custom_auth = KeyAuth(self.app.auth)
        self.api = application.build(self.app)
        self.pipe = Pipe(settings.gateway.max_connections)
        engine = Engine(self.handler, self.catalogue, self.pipe, _timeouts(settings))
        self.conductor = Conductor(
            engine,
            self.catalogue,
            self.pipeline,
            self.app.fallback,
            self.app.tools,
            self.app.wishes,
            self.app.clock,
        )
        self.app.ask = Inner(self.pipeline, self.conductor, self.app.clock).ask
        self.replies = Replies(self.pipeline)
        self.metered = cache(self._metered)
        self.now = self.app.clock.now
        self.traffic = Traffic(settings.traffic)
        self._demo = DemoProcess(settings.data_dir, settings.demo.brain)
        self._prompts = Prompts(self.app.templates.newest, settings.templates)
        self._opening: asyncio.Task[None] | None = None
        self._mirroring: asyncio.Task[None] | None = None
        self._tried = asyncio.Event()
        self._open = False
        self.problem = "it is starting"

    def start(self) -> None:
        """Opens in the background of the running loop: LiteLLM goes on with its own start meanwhile."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self.traffic.drain_on(number)
        self._opening = asyncio.get_running_loop().create_task(self._keep_trying())

    async def ready(self) -> None:
        """Waits until the opening was tried once; `is_open` tells how it went."""
        if not self._tried.is_set():
            await self._tried.wait()

    def _metered(self, app: ASGIApp) -> Metered:
        wait_s = self.settings.gateway.meter_wait_s
        return Metered(app, self.meter, self.catalogue, self.pipeline, wait_s)

    @property
    def is_open(self) -> bool:
        return self._open

    def starting(self) -> dict[str, str]:
        """What `/health` says while it is not open."""
        return {"status": "degraded", "cache": "disconnected", "version": VERSION, "reason": self.problem}

    async def _keep_trying(self) -> None:
        for step in (self.app.open, self.pipe.open, self._make_deployments_ready, self._warm_up):
            await self._insist(step)
        _settle_heap()
        self._open = True
        self._tried.set()
        self._mirroring = asyncio.create_task(self._prompts.run())
        announce(self._keys, self.settings.data_dir, os.environ)

    async def _insist(self, step: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                return await step()
            except Exception as error:
                self.problem = mask(str(error))
                self._tried.set()
                logger.exception("Sentinella cannot open yet and tries again in %s s", _RETRY_S)
                await asyncio.sleep(_RETRY_S)

    async def _warm_up(self) -> None:
        """The first use of LiteLLM and of the tokenizer loads much: not at the cost of the first client."""
        await asyncio.to_thread(importlib.import_module, "openai.resources")
        for stream in (False, True):
            await Engine.rehearse(stream=stream)
        await self.catalogue.count_text("warm")
        host.forget_token_tables()

    async def _make_deployments_ready(self) -> None:
        while host.llm_router() is None:  # noqa: ASYNC110  # LiteLLM has no event for it
            await asyncio.sleep(_ROUTER_WAIT_S)
        models = host.configured_models()
        url = await self._demo_url() if deployments.needs_demo(models) else None
        router = host.llm_router()
        if router is None:
            raise Unavailable
        router.set_model_list(deployments.prepare(models, os.environ, url))
        self.catalogue.fill(router.get_model_list() or [], self.aliases)

    async def _demo_url(self) -> str | None:
        demo = self.settings.demo
        if not demo.enabled:
            return None
        return demo.url or await self._demo.url()


def _settle_heap() -> None:
    """What is loaded by now stays, what loading took goes back to the system. A full collection of LiteLLM's
    million of objects would hold up every call for half a second."""
    gc.collect()
    gc.freeze()
    with suppress(AttributeError, OSError):  # glibc has it
        ctypes.CDLL(None).malloc_trim(0)


def _timeouts(settings: Settings) -> Timeouts:
    fallback = settings.fallback
    return Timeouts(
        connect_s=fallback.connect_timeout_s,
        # The conductor knows which model may think how long: here only the end of all patience counts.
        first_byte_s=fallback.total_s,
        idle_s=fallback.total_s,
        total_s=fallback.total_s,
    )


def build() -> House:
    """From the environment and the proxy's YAML. `SettingsError` says what is wrong."""
    file = host.proxy_config_file()
    settings = load_for_proxy(Path(file) if file else None, os.environ)
    logs.configure(settings.tracing)
    if not settings.tracing.server_access_log:
        logging.getLogger("uvicorn.access").setLevel(logging.WARNING)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    api_key = settings.api_key.get_secret_value() if settings.api_key else None
    keys = ensure_keys(settings.data_dir, os.environ, api_key)
    os.environ["LITELLM_MASTER_KEY"] = keys.master_key  # LiteLLM refuses to start without one, or with ""
    return House(settings, keys)


def install() -> House:
    """Puts the house in front of LiteLLM's application. Once per process."""
    from sentinella_plugins.gateway.door import Door

    gc.disable()  # LiteLLM's million of objects would be gone through for a few thousand new ones
    try:
        house = build()
    finally:
        gc.enable()
    honest_streams.install()
    if house.settings.cache.enabled:
        litellm_cache.install(house.app.cache.raw)
    host.insert_door(Door, house=house)
    house.start()
    atexit.register(house.app.storage.database.close_blocking)
    return house
