"""Sentinella's one callback in LiteLLM."""

from __future__ import annotations

from typing import Any

from litellm.integrations.custom_logger import CustomLogger

from sentinella_plugins.gateway.meter import Meter


class Handler(CustomLogger):
    """Registered by `litellm_settings.callbacks: [sentinella_plugins.gateway.handler]`; naming it installs
    the house."""

    def __init__(self, meter: Meter) -> None:
        super().__init__()
        self._meter = meter

    async def async_log_success_event(
        self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        self._meter.report(kwargs, response_obj)

    async def async_post_call_failure_hook(
        self,
        request_data: dict[str, Any],
        original_exception: Exception,
        user_api_key_dict: Any,
        traceback_str: str | None = None,
    ) -> None:
        self._meter.fail(str(request_data.get("litellm_call_id")), original_exception)
