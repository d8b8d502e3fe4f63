"""Identifiers: a prefix that tells the kind, then time-ordered hexadecimal (UUID version 7 layout)."""

from __future__ import annotations

import os
import time


def new_id(prefix: str) -> str:
    """`prefix_` and 32 hexadecimal digits: 48 bits of milliseconds, then 80 random bits. Sorts by time."""
    return f"{prefix}_{int(time.time() * 1000):012x}{os.urandom(10).hex()}"
