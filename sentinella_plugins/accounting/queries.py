"""Query strings to queries; whatever is wrong is named."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from typing import get_args

from sentinella_plugins.accounting.models import DIMENSIONS, CallQuery, Dimension, UsageQuery
from sentinella_plugins.kernel.call import Principal, Status
from sentinella_plugins.kernel.errors import BadRequest, Forbidden

_DAYS = 30
_LAST_SECOND = 253_402_300_799.0
_STATUSES = tuple(status for status in get_args(Status) if status != "refused")


def usage_query(
    who: Principal,
    now: float,
    *,
    start: str | None,
    end: str | None,
    group_by: str | None,
    tenant: str | None,
) -> UsageQuery:
    since, until = period(start, end, now)
    owner = whose(who, tenant)
    return UsageQuery(since=since, until=until, tenant=owner, group_by=dimensions(who, group_by))


def call_query(
    who: Principal,
    now: float,
    *,
    start: str | None,
    end: str | None,
    tenant: str | None,
    model: str | None,
    status: str | None,
    after: str | None,
    limit: str | None,
) -> CallQuery:
    since, until = period(start, end, now)
    if status is not None and status not in _STATUSES:
        raise BadRequest(f"`status` must be one of {', '.join(_STATUSES)}.", param="status")
    return CallQuery(
        since=since,
        until=until,
        tenant=whose(who, tenant),
        model=_sound(model, "model"),
        status=status,
        after=_sound(after, "after"),
        limit=_limit(limit),
    )


def whose(who: Principal, tenant: str | None) -> str | None:
    """Members see their own tenant only; admins see all, or the one they name."""
    if who.role == "admin":
        return _sound(tenant, "tenant")
    if tenant is not None and tenant != who.tenant:
        raise Forbidden("Only an admin key may see other tenants.", param="tenant")
    return who.tenant


def dimensions(who: Principal, text: str | None) -> tuple[Dimension, ...]:
    if text is None:
        return ("day", "model")
    allowed = [name for name in DIMENSIONS if name != "tenant" or who.role == "admin"]
    asked = [name.strip() for name in text.split(",") if name.strip()]
    if any(name not in allowed for name in asked) or len(set(asked)) != len(asked):
        raise BadRequest(f"`group_by` must list some of {', '.join(allowed)}, each once.", param="group_by")
    return tuple(name for name in DIMENSIONS if name in asked)


def period(start: str | None, end: str | None, now: float) -> tuple[float, float]:
    """From `start` (default: 30 days before the end) up to, not including, `end` (default: now).

    An `end` that is a plain date includes that day.
    """
    until = _time(end, "end", whole_day=True) if end else math.floor(now) + 1.0
    since = _time(start, "start", whole_day=False) if start else max(0.0, until - _DAYS * 86_400)
    if since > until:
        raise BadRequest("`start` lies after `end`.", param="start")
    return since, until


def _time(text: str, param: str, *, whole_day: bool) -> float:
    try:
        moment = _unix(text, whole_day=whole_day)
    except (ValueError, OverflowError):
        message = f"`{param}` must be Unix seconds or an ISO date such as 2026-11-22."
        raise BadRequest(message, param=param) from None
    return min(moment, _LAST_SECOND)


def _unix(text: str, *, whole_day: bool) -> float:
    text = text.strip()
    if text.replace(".", "", 1).isdecimal():
        return float(text)
    if len(text) == 10:
        day = datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC)
        return (day + timedelta(days=int(whole_day))).timestamp()
    moment = datetime.fromisoformat(text)
    seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if seconds < 0:
        raise ValueError("before 1970")
    return seconds


def _limit(text: str | None) -> int:
    if text is None:
        return 20
    if not (text.isascii() and text.isdecimal() and len(text) < 5 and 1 <= int(text) <= 1_000):
        raise BadRequest("`limit` must be a whole number from 1 to 1000.", param="limit")
    return int(text)


def _sound(text: str | None, param: str) -> str | None:
    if text is not None and "\0" in text:
        raise BadRequest(f"`{param}` holds a character that is not allowed.", param=param)
    return text
