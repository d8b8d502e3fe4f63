"""Functions that are registered as tools. In a module of their own: it must be the one that is imported."""

from __future__ import annotations

import asyncio
import threading

released = threading.Event()
NO_FUNCTION = ()


def shout(word: str) -> str:
    return word.upper()


async def slowly(word: str) -> dict[str, object]:
    await asyncio.sleep(0)
    return {"said": word, "odd": {1}, "\ud800": "\ud800"}


def blocks() -> str:
    released.wait(10)
    return "late"


async def stubborn() -> str:
    while not released.is_set():
        try:
            await asyncio.sleep(0.05)
        except asyncio.CancelledError:
            continue
    return "late"


def raises() -> str:
    raise ValueError("the password is hunter2")
