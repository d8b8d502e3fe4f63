"""API keys: how they are made, recognised, hashed and hidden."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import zlib

KEY_PREFIX = "sk-sen-"
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_BODY = 40
_TELLTALES = ("sk-", "whsec_", "AIza", "xai-", "gsk_", "earer ")
_LOOKS_SECRET = re.compile(
    r"(sk-[A-Za-z0-9_\-]{6,}|whsec_[A-Za-z0-9+/=]{6,}|AIza[A-Za-z0-9_\-]{10,}|xai-[A-Za-z0-9]{8,}|gsk_[A-Za-z0-9]{8,}"
    r"|(?<=[Bb]earer )[A-Za-z0-9._\-+/=]{8,})"
)


def new_key() -> str:
    """`sk-sen-`, 40 random letters and digits (238 bits), 6 of checksum."""
    body = "".join(secrets.choice(_ALPHABET) for _ in range(_BODY))
    return f"{KEY_PREFIX}{body}{_checksum(body)}"


def is_well_formed(key: str) -> bool:
    """Whether the checksum fits: a mistyped or invented key is refused without asking the store."""
    body = key.removeprefix(KEY_PREFIX)
    return (
        key.startswith(KEY_PREFIX)
        and len(body) == _BODY + 6
        and hmac.compare_digest(
            body[_BODY:].encode("utf-8", "surrogatepass"), _checksum(body[:_BODY]).encode()
        )
    )


def hash_key(key: str) -> str:
    """SHA-256, hexadecimal. Keys carry 238 random bits, so a slow hash would only slow the gateway."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def same(left: str, right: str) -> bool:
    """Equality in constant time."""
    return hmac.compare_digest(left.encode("utf-8", "surrogatepass"), right.encode("utf-8", "surrogatepass"))


def hint(key: str) -> str:
    """What may be shown of a key: its prefix and last four characters."""
    return f"{key[:7]}...{key[-4:]}" if len(key) >= 16 else "..."


def mask(text: str) -> str:
    """The text with everything that looks like a credential replaced by its hint."""
    if not any(
        telltale in text for telltale in _TELLTALES
    ):  # the expression below is slow, and this is on every log line
        return text
    return _LOOKS_SECRET.sub(lambda found: hint(found.group()), text)


def _checksum(body: str) -> str:
    value = zlib.crc32(body.encode("utf-8", "surrogatepass"))
    digits = []
    for _ in range(6):
        value, digit = divmod(value, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(digits)


class Secret:
    """A string that does not show itself in `repr`, logs or tracebacks."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "Secret(...)"
