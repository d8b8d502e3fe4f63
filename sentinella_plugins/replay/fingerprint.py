"""When two calls are the same, and which of them may share an answer."""

from __future__ import annotations

import hashlib
from dataclasses import fields

import orjson

from sentinella_plugins.kernel.call import Call, Json
from sentinella_plugins.replay.config import ReplayConfig

COALESCED_ROUTES = frozenset(["/v1/chat/completions"])
"""Of the others the corridor sees no body to share."""

_TOOLS = ("tools", "functions", "web_search_options")


def of_request(call: Call) -> str:
    """SHA-256 of what the client asked for, whoever asks and in whatever order the fields stand."""
    return _digest(_request(call, call.given or call.body))


def of_flight(call: Call) -> str:
    """SHA-256 of what the answer depends on: also the tenant, the chosen model, and which models may stand
    in."""
    principal = call.principal
    return _digest([principal.tenant, principal.models, call.model, *_request(call, call.body)])


def of_key(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def may_share(call: Call, config: ReplayConfig) -> bool:
    """Whether the call may get the answer of an identical one that runs."""
    if config.coalesce == "off" or call.stream or call.route not in COALESCED_ROUTES:
        return False
    if call.options.cache.get("mode") in ("bypass", "refresh"):
        return False
    return config.coalesce == "always" or is_deterministic(call)


def is_deterministic(call: Call) -> bool:
    body, options = call.body, call.options
    pinned = body.get("temperature") == 0 or body.get("seed") is not None
    alone = body.get("n") in (None, 1) and not any(body.get(name) for name in _TOOLS)
    return pinned and alone and options.session_id is None and options.tool_execution == "client"


def _request(call: Call, body: Json) -> list[object]:
    options = {option.name: getattr(call.options, option.name) for option in fields(call.options)}
    return [call.route, call.requested, body, options]


def _digest(parts: list[object]) -> str:
    return hashlib.sha256(orjson.dumps(parts, default=dict, option=orjson.OPT_SORT_KEYS)).hexdigest()
