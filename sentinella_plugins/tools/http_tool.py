"""Running a tool that is an HTTP request."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from sentinella_plugins.net.client import GuardedClient
from sentinella_plugins.net.models import Inbound
from sentinella_plugins.tools.models import Secrets, ToolFailed
from sentinella_plugins.tools.request import outbound
from sentinella_plugins.tools.result import extracted, readable
from sentinella_plugins.tools.specs import HttpTool

_LARGE = 50_000
_SHOWN = 500


async def run(
    client: GuardedClient, tool: HttpTool, arguments: Mapping[str, Any], secrets: Secrets, within_s: float
) -> str:
    answer = await client.fetch(outbound(tool, arguments, secrets), within_s=within_s)
    if len(answer.content) > _LARGE:
        return await asyncio.to_thread(_text, tool, answer)
    return _text(tool, answer)


def _text(tool: HttpTool, answer: Inbound) -> str:
    kind = answer.headers.get("content-type", "")
    if not 200 <= answer.status < 300:
        raise ToolFailed(
            "http_error", f"The tool answered with status {answer.status}. {_shown(answer, kind)}"
        )
    text = readable(answer.content, kind)
    return text if tool.extract is None else extracted(text, tool.extract)


def _shown(answer: Inbound, kind: str) -> str:
    try:
        return readable(answer.content, kind.replace("json", "plain"))[:_SHOWN]
    except ToolFailed:
        return ""
