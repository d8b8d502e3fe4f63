"""How usage is shown: JSON objects and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from sentinella_plugins.accounting.models import LedgerLine, Report, Sums, UsageRow
from sentinella_plugins.kernel.money import usd

_SUMS = (
    "requests",
    "successes",
    "errors",
    "prompt_tokens",
    "completion_tokens",
    "cached_tokens",
    "reasoning_tokens",
)


def report_json(report: Report) -> dict[str, object]:
    return {
        "object": "list",
        "data": [{"object": "usage", **_cells(row)} for row in report.rows],
        "total": _sums(report.total),
        "has_more": False,
    }


def report_csv(report: Report, group_by: Sequence[str]) -> str:
    out = io.StringIO()
    writer = csv.writer(out)
    header = [*group_by, *_SUMS, "cost_usd"]
    writer.writerow(header)
    for row in report.rows:
        cells = _cells(row)
        writer.writerow([safe_cell(str(cells[name])) for name in header])
    return out.getvalue()


def line_json(line: LedgerLine) -> dict[str, object]:
    return {
        "object": "usage.call",
        "id": line.request_id,
        "created_at": int(line.at),
        "tenant": line.tenant,
        "key": line.key_id,
        "route": line.route,
        "requested_model": line.requested_model,
        "model": line.model,
        "provider": line.provider,
        "status": line.status,
        "error_code": line.error_code,
        "prompt_tokens": line.prompt_tokens,
        "completion_tokens": line.completion_tokens,
        "cached_tokens": line.cached_tokens,
        "reasoning_tokens": line.reasoning_tokens,
        "cost_usd": usd(line.cost),
        "latency_ms": line.latency_ms,
        "first_token_ms": line.first_token_ms,
        "stream": line.stream,
        "cached": line.cached,
        "attempts": list(line.attempts),
        "session_id": line.session_id,
    }


def safe_cell(text: str) -> str:
    """Spreadsheets run cells that begin like a formula; an apostrophe makes them text."""
    return f"'{text}" if text.lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\r", "\n")) else text


def _cells(row: UsageRow) -> dict[str, object]:
    return {**row.group, **_sums(row.sums)}


def _sums(sums: Sums) -> dict[str, object]:
    return {**{name: getattr(sums, name) for name in _SUMS}, "cost_usd": usd(sums.cost)}
