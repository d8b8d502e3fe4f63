"""The demo upstream as a process beside the gateway: one per data directory, whichever worker comes first
starts it."""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import IO

import httpx

logger = logging.getLogger(__name__)
_WAIT_S = 30.0


class DemoProcess:
    """Holds a shared lock on `demo.lock` while this worker lives; the demo ends by itself when nobody holds
    one."""

    def __init__(self, data_dir: Path, brain: str) -> None:
        self._dir = data_dir
        self._brain = brain
        self._held: IO[bytes] | None = None

    async def url(self) -> str:
        """Where the demo answers; starts it if it does not. `RuntimeError` when it does not come up."""
        self._held = self._held or await asyncio.to_thread(self._hold)
        return await asyncio.wait_for(self._find_or_start(), _WAIT_S)

    def close(self) -> None:
        if self._held:
            self._held.close()
            self._held = None

    def _hold(self) -> IO[bytes]:
        file = (self._dir / "demo.lock").open("ab")
        fcntl.flock(file, fcntl.LOCK_SH)
        return file

    async def _find_or_start(self) -> str:
        with (self._dir / "demo.start").open("ab") as starting:
            await asyncio.to_thread(fcntl.flock, starting, fcntl.LOCK_EX)
            found = await self._running()
            if found:
                return found
            process = await asyncio.to_thread(self._start)
            while process.poll() is None:
                found = await self._running()
                if found:
                    return found
                await asyncio.sleep(0.05)
        raise RuntimeError(f"the demo upstream ended at once: see `{self._dir / 'demo.log'}`")

    async def _running(self) -> str | None:
        try:
            url = str(json.loads((self._dir / "demo.json").read_text())["url"])
            async with httpx.AsyncClient(timeout=2.0, trust_env=False) as client:
                (await client.get(f"{url}/health")).raise_for_status()
        except (OSError, ValueError, KeyError, httpx.HTTPError):
            return None
        return url

    def _start(self) -> subprocess.Popen[bytes]:
        ready = self._dir / "demo.json"
        ready.unlink(missing_ok=True)
        command = [sys.executable, "-m", "sentinella_plugins.demo", "--port", "0", "--brain", self._brain]
        command += ["--ready-file", str(ready), "--while-locked", str(self._dir / "demo.lock")]
        with (self._dir / "demo.log").open("ab") as log:
            return subprocess.Popen(  # noqa: S603  # our own module, our own arguments
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=_environment(),
            )


def _environment() -> dict[str, str]:
    """Without secrets: the demo needs none."""
    return {
        name: os.environ[name]
        for name in ("PATH", "HOME", "LANG", "PYTHONPATH", "TMPDIR")
        if name in os.environ
    }
