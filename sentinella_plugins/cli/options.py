"""Options that many commands share."""

from __future__ import annotations

from typing import Annotated

from typer import Argument, BadParameter, Option

Url = Annotated[
    str | None, Option("--url", envvar="SENTINELLA_URL", help="Where the gateway runs.", show_default=False)
]
Key = Annotated[
    str | None, Option("--key", help="API key, instead of the one from the environment or data directory.")
]
AsJson = Annotated[bool, Option("--json", help="Raw JSON on stdout and nothing else.")]
Quiet = Annotated[bool, Option("--quiet", "-q", help="Only the key, alone on its line.")]
Tenant = Annotated[str, Argument(help="Id of the tenant.", show_default=False)]
Models = Annotated[
    list[str] | None,
    Option("--model", help="Pattern of allowed models such as `claude-*`; repeat it for more."),
]

_PANEL = "Limits (a number, or `none` for unlimited)"


def _limit(flag: str, text: str) -> object:
    return Option(flag, help=text, rich_help_panel=_PANEL, show_default=False, metavar="N|none")


PerMinute = Annotated[str | None, _limit("--requests-per-minute", "Requests per UTC minute.")]
PerHour = Annotated[str | None, _limit("--requests-per-hour", "Requests per UTC hour.")]
PerDay = Annotated[str | None, _limit("--requests-per-day", "Requests per UTC day.")]
Tokens = Annotated[str | None, _limit("--tokens-per-minute", "Tokens per UTC minute.")]
CostDay = Annotated[str | None, _limit("--cost-per-day", "US dollars per UTC day.")]
CostMonth = Annotated[str | None, _limit("--cost-per-month", "US dollars per calendar month.")]
Concurrency = Annotated[str | None, _limit("--max-concurrency", "Calls at the same time.")]


def limits(
    per_minute: str | None,
    per_hour: str | None,
    per_day: str | None,
    tokens: str | None,
    cost_day: str | None,
    cost_month: str | None,
    concurrency: str | None,
) -> dict[str, object]:
    """Only what was given."""
    given = {
        "requests_per_minute": _whole("--requests-per-minute", per_minute),
        "requests_per_hour": _whole("--requests-per-hour", per_hour),
        "requests_per_day": _whole("--requests-per-day", per_day),
        "tokens_per_minute": _whole("--tokens-per-minute", tokens),
        "cost_per_day_usd": cost_day,
        "cost_per_month_usd": cost_month,
        "max_concurrency": _whole("--max-concurrency", concurrency),
    }
    return {name: None if value == "none" else value for name, value in given.items() if value is not None}


def _whole(flag: str, text: str | None) -> int | str | None:
    if text is None or text == "none":
        return text
    if not (text.isascii() and text.isdecimal()):
        raise BadParameter(f"`{text}` is neither a whole number nor `none`.", param_hint=flag)
    return int(text)
