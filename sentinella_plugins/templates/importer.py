"""Files of a folder become templates, at the start and whenever they change."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from sentinella_plugins.kernel.errors import SentinellaError, Unavailable
from sentinella_plugins.templates.config import TemplatesConfig
from sentinella_plugins.templates.files import Signature, digest, parse, read, scan
from sentinella_plugins.templates.models import NewTemplate

logger = logging.getLogger(__name__)
Import = Callable[[str, NewTemplate, str], Awaitable[None]]
"""A tenant, its template, and the digest of the file."""
Failed = Callable[[str], Awaitable[None]]


class Importer:
    """A file that is broken is told to `failed` once for each change of it; what it was before stays."""

    def __init__(self, config: TemplatesConfig, import_: Import, failed: Failed) -> None:
        self._config = config
        self._import = import_
        self._failed = failed
        self._seen: dict[Path, Signature] = {}
        self._owners: dict[tuple[str, str], Path] = {}

    async def look(self) -> None:
        """Imports what has changed since the last look."""
        if self._config.folder is None:
            return
        try:
            found = await asyncio.to_thread(scan, self._config.folder, self._config.max_files)
        except OSError as error:
            return logger.error("the folder of templates cannot be read (%s)", type(error).__name__)
        self._owners = {place: path for place, path in self._owners.items() if path in found}
        self._seen = {path: signature for path, signature in self._seen.items() if path in found}
        for path, signature in found.items():
            if self._seen.get(path) != signature and await self._done(path):
                self._seen[path] = signature

    async def _done(self, path: Path) -> bool:
        """Whether there is no need to try this content again."""
        try:
            await self._read(path)
        except Unavailable as error:
            logger.warning("template file `%s` waits: %s", path, error)
            return False
        except SentinellaError as error:
            logger.error("template file `%s` was not imported: %s", path, error)
            await self._failed(f"template file `{path.name}` was not imported: {error}")
        return True

    async def _read(self, path: Path) -> None:
        text = await asyncio.to_thread(read, path, self._config.max_file_bytes)
        tenant, template = await asyncio.to_thread(parse, text, path.stem, self._config.default_tenant)
        owner = self._owners.setdefault((tenant, template.name), path)
        if owner != path:
            raise SentinellaError(f"`{owner.name}` holds the template `{template.name}` already.")
        await self._import(tenant, template, digest(tenant, template))
