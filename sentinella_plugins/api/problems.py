"""Errors → HTTP, in OpenAI's shape. The only place where it is done."""

from __future__ import annotations

from dataclasses import dataclass

from sentinella_plugins.kernel.call import Json
from sentinella_plugins.kernel.errors import SentinellaError
from sentinella_plugins.kernel.secrets import mask


@dataclass(frozen=True, slots=True)
class Problem:
    status: int
    body: Json
    headers: dict[str, str]


def problem(error: Exception) -> Problem:
    """What the client is told. An exception that is not one of ours says nothing about its inside."""
    known = error if isinstance(error, SentinellaError) else SentinellaError()
    body = {
        "error": {
            "message": mask(known.message),
            "type": known.type,
            "param": known.param,
            "code": known.code,
            **known.details(),
        }
    }
    return Problem(known.status, body, known.headers())
