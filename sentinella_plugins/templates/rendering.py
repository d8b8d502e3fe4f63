"""Compiling and rendering, off the event loop where it may take long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from sentinella_plugins.kernel.errors import Unavailable
from sentinella_plugins.templates.compiled import Compiled, compiled
from sentinella_plugins.templates.config import TemplatesConfig
from sentinella_plugins.templates.errors import TooMuch
from sentinella_plugins.templates.limits import Allowance
from sentinella_plugins.templates.models import Content
from sentinella_plugins.templates.variables import Values, checked, weight

T = TypeVar("T")
_QUICK = Allowance(chars=10_000, loops=100, seconds=0.001)
"""What most renderings need; a hop to a thread costs as much as they do."""


class Renderer:
    def __init__(self, config: TemplatesConfig) -> None:
        self._allowed = Allowance(config.max_rendered_chars, config.max_loops, config.render_timeout_s)
        self._quick = _QUICK.within(self._allowed)
        self._compile = partial(
            compiled, max_chars=config.max_template_chars, max_variables=config.max_variables
        )
        self._threads = ThreadPoolExecutor(config.threads, thread_name_prefix="sentinella-templates")
        self._most_waiting = config.max_waiting
        self._waiting = 0

    async def compile(self, content: Content) -> Compiled:
        """`TemplateInvalid` says what is wrong."""
        return await self.aside(self._compile, content)

    async def render(
        self, ready: Compiled, given: Values, owner: str
    ) -> tuple[str | None, tuple[dict[str, Any], ...]]:
        """Text and messages. Raises what is wrong with the variables, `TooMuch` and `RenderingFailed`."""
        values = checked(ready.variables, given, owner)
        if weight(values, self._allowed.chars) < _QUICK.chars:
            with suppress(TooMuch):
                return ready.render(values, self._quick)
        return await self.aside(ready.render, values, self._allowed)

    async def aside(self, work: Callable[..., T], *arguments: object) -> T:
        """In a thread of this room. `Unavailable` when too many wait for one."""
        if self._waiting >= self._most_waiting:
            raise Unavailable("Too many templates are rendered at once. Retry shortly.")
        self._waiting += 1
        future = asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)
        future.add_done_callback(self._done)
        return await asyncio.shield(future)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _done(self, future: asyncio.Future[Any]) -> None:
        self._waiting -= 1
        if not future.cancelled():
            future.exception()
