"""What LiteLLM's own routes used: its logger tells the numbers, the door waits for them by call id."""

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


class Meter:
    """Bounded by the calls that run: a reading that nobody waits for is dropped."""

    def __init__(self) -> None:
        self._waiting: dict[str, asyncio.Future[Reading]] = {}

    def expect(self, call_id: str) -> None:
        self._waiting[call_id] = asyncio.get_running_loop().create_future()

    async def read(self, call_id: str, wait_s: float) -> Reading | None:
        """The reading, or `None` when it does not come in time."""
        future = self._waiting[call_id]
        await asyncio.wait([future], timeout=wait_s)
        return future.result() if future.done() else None

    def forget(self, call_id: str) -> None:
        self._waiting.pop(call_id, None)

    def report(self, kwargs: dict[str, Any], response: Any) -> None:
        """From LiteLLM's success event."""
        future = self._waiting.get(str(kwargs.get("litellm_call_id")))
        if future is None or future.done():
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
        future.get_loop().call_soon_threadsafe(_resolve, future, reading)


def _resolve(future: asyncio.Future[Reading], reading: Reading) -> None:
    if not future.done():
        future.set_result(reading)
