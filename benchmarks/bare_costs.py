"""A callback for the bare LiteLLM side: keeps what each call cost, as its own ledger would be told."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from litellm.integrations.custom_logger import CustomLogger


class Costs(CustomLogger):
    async def async_log_success_event(
        self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        line = {"id": getattr(response_obj, "id", None), "cost": kwargs.get("response_cost")}
        with Path(os.environ["BENCH_COSTS"]).open("a") as file:  # noqa: ASYNC230 - a line per call
            file.write(json.dumps(line) + "\n")


handler = Costs()
