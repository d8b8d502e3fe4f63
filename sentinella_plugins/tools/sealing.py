"""Secrets of tools, encrypted at rest (Fernet: AES-128-CBC with HMAC-SHA-256)."""

from __future__ import annotations

import base64
import hashlib
import os
import tempfile
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import orjson
from cryptography.fernet import Fernet, InvalidToken
from pydantic import SecretStr

from sentinella_plugins.kernel.errors import SettingsError
from sentinella_plugins.kernel.secrets import Secret
from sentinella_plugins.tools.models import Secrets, SecretUnreadable

FILE = "tools.key"


class Vault:
    """The key is `given`, else that of the file `tools.key` (mode 600), made when the first secret comes."""

    def __init__(self, given: SecretStr | None, data_dir: Path) -> None:
        self._given = given
        self._file = data_dir / FILE

    def seal(self, owner: str, secrets: Mapping[str, str]) -> bytes | None:
        """`owner` is sealed in too: moved to another tool, a secret opens no more."""
        if not secrets:
            return None
        return self._fernet.encrypt(orjson.dumps({"owner": owner, "secrets": dict(secrets)}))

    def open(self, owner: str, sealed: bytes | None) -> Secrets:
        """Raises `SecretUnreadable`."""
        if sealed is None:
            return {}
        try:
            kept = orjson.loads(self._fernet.decrypt(sealed))
        except (InvalidToken, orjson.JSONDecodeError):
            raise SecretUnreadable from None
        if kept["owner"] != owner:
            raise SecretUnreadable
        return {place: Secret(value) for place, value in kept["secrets"].items()}

    @cached_property
    def _fernet(self) -> Fernet:
        key = self._given.get_secret_value() if self._given else self._kept()
        return Fernet(base64.urlsafe_b64encode(hashlib.sha256(b"sentinella tools " + key.encode()).digest()))

    def _kept(self) -> str:
        if not self._file.exists():
            _create(self._file)
        try:
            return self._file.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"`{self._file}` cannot be read ({type(error).__name__}).") from None


def _create(path: Path) -> None:
    """Writes a private draft and links it into place, so that of many processes exactly one wins."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{FILE}.")  # born with mode 600
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(Fernet.generate_key().decode())
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        os.unlink(draft)
