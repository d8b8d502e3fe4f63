"""What LiteLLM's own routes used and why they failed: its callbacks tell, the door waits by call id."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from sentinella_plugins.gateway.answers import usage_of
from sentinella_plugins.kernel.call import Usage
from sentinella_plugins.kernel.money import Nano, nano


@dataclass(frozen=True, slots=True)
class Reading:
    model: str
    provider: str
    usage: Usage
    cost: Nano
    model_id: str | None


@dataclass(slots=True)
class _Waiting:
    reading: asyncio.Future[Reading]
    failure: Exception | None = None


class Meter:
    """Bounded by the calls that run: a reading that nobody waits for is dropped."""

    def __init__(self) -> None:
        self._waiting: dict[str, _Waiting] = {}

    def expect(self, call_id: str) -> None:
        """From now on; what was told of an earlier try is forgotten."""
        self._waiting[call_id] = _Waiting(asyncio.get_running_loop().create_future())

    async def read(self, call_id: str, wait_s: float) -> Reading | None:
        """The reading, or `None` when it does not come in time."""
        future = self._waiting[call_id].reading
        await asyncio.wait([future], timeout=wait_s)
        return future.result() if future.done() else None

    def failure(self, call_id: str) -> Exception | None:
        """What LiteLLM's endpoint stumbled over, if it told."""
        waiting = self._waiting.get(call_id)
        return waiting.failure if waiting else None

    def forget(self, call_id: str) -> None:
        self._waiting.pop(call_id, None)

    def fail(self, call_id: str, error: Exception) -> None:
        """From LiteLLM's failure hook. The first one counts: later ones come of it."""
        waiting = self._waiting.get(call_id)
        if waiting is not None and waiting.failure is None:
            waiting.failure = error

    def report(self, kwargs: dict[str, Any], response: Any) -> None:
        """From LiteLLM's success event."""
        waiting = self._waiting.get(str(kwargs.get("litellm_call_id")))
        if waiting is None or waiting.reading.done():
            return
        payload = kwargs.get("standard_logging_object") or {}
        usage = usage_of(getattr(response, "usage", None))
        if not usage.total:
            usage = Usage(
                prompt=payload.get("prompt_tokens") or 0, completion=payload.get("completion_tokens") or 0
            )
        reading = Reading(
            model=str(payload.get("model_group") or payload.get("model") or ""),
            provider=str(payload.get("custom_llm_provider") or ""),
            usage=usage,
            cost=nano(kwargs.get("response_cost") or 0),
            model_id=payload.get("model_id"),
        )
        waiting.reading.get_loop().call_soon_threadsafe(_resolve, waiting.reading, reading)


def _resolve(future: asyncio.Future[Reading], reading: Reading) -> None:
    if not future.done():
        future.set_result(reading)
