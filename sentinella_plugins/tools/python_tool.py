"""Running a tool that is a Python function of the operator's."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from sentinella_plugins.kernel.errors import SettingsError
from sentinella_plugins.tools.models import ToolFailed
from sentinella_plugins.tools.result import rendered
from sentinella_plugins.tools.specs import PythonTool

logger = logging.getLogger(__name__)


class Functions:
    """A function that is not `async` runs in a thread; it cannot be stopped there, so it keeps its thread
    until it returns."""

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="sentinella-tool")
        self._known: dict[str, Callable[..., Any]] = {}
        self._left: set[asyncio.Future[Any]] = set()

    def load(self, tool: PythonTool) -> None:
        """Raises `SettingsError` when there is no such function."""
        module, _, path = tool.function.partition(":")
        try:
            found: Any = importlib.import_module(module)
            for name in path.split("."):
                found = getattr(found, name)
        except (ImportError, AttributeError) as error:
            raise SettingsError(f"tools.registered: `{tool.function}` cannot be imported: {error}") from None
        if not callable(found):
            raise SettingsError(f"tools.registered: `{tool.function}` is no function")
        self._known[tool.function] = found

    async def run(self, tool: PythonTool, arguments: Mapping[str, Any], within_s: float) -> str:
        function = partial(self._known[tool.function], **arguments)
        if inspect.iscoroutinefunction(self._known[tool.function]):
            work = asyncio.ensure_future(function())
        else:
            work = asyncio.get_running_loop().run_in_executor(self._pool, function)
        try:
            done, _ = await asyncio.wait([work], timeout=within_s)
        except asyncio.CancelledError:
            self._abandon(work)
            raise
        if not done:
            self._abandon(work)
            raise TimeoutError
        return rendered(_result(tool, work))

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _abandon(self, work: asyncio.Future[Any]) -> None:
        """One that does not care for being cancelled is not waited for."""
        work.cancel()
        self._left.add(work)
        work.add_done_callback(self._forget)

    def _forget(self, work: asyncio.Future[Any]) -> None:
        self._left.discard(work)
        if not work.cancelled():
            work.exception()


def _result(tool: PythonTool, work: asyncio.Future[Any]) -> Any:
    try:
        return work.result()
    except Exception as error:
        logger.exception("the tool `%s` failed", tool.name)
        # What an exception says may be anything: the model is told its kind only.
        raise ToolFailed("function_failed", f"The tool failed with {type(error).__name__}.") from None
