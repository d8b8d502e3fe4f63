"""What the bare LiteLLM side runs on every call: a trivial `custom_auth` and a callback that does nothing."""

from __future__ import annotations

import os

from fastapi import Request
from litellm.integrations.custom_logger import CustomLogger
from litellm.proxy._types import ProxyException, UserAPIKeyAuth

KEYS = {os.environ["BENCH_OPEN_KEY"]: None, os.environ["BENCH_TIGHT_KEY"]: 1}


async def auth(request: Request, api_key: str) -> UserAPIKeyAuth:
    if api_key not in KEYS:
        raise ProxyException(message="Invalid key", type="auth_error", param=None, code=401)
    return UserAPIKeyAuth(api_key=api_key, rpm_limit=KEYS[api_key])


handler = CustomLogger()
