"""A call → LiteLLM's Router: arguments, the metadata that its callbacks expect, and other people's hooks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import litellm
from litellm.litellm_core_utils.rules import Rules
from litellm.proxy._types import LitellmUserRoles, UserAPIKeyAuth
from litellm.proxy.litellm_pre_call_utils import LiteLLMProxyRequestSetup

from sentinella_plugins.gateway import host
from sentinella_plugins.kernel.call import Call, Principal
from sentinella_plugins.kernel.errors import Unavailable
from sentinella_plugins.kernel.secrets import hash_key

_SEEN_HEADERS = ("user-agent", "content-type", "x-forwarded-for", "traceparent", "tracestate")


@lru_cache(maxsize=4096)
def user_of(principal: Principal) -> UserAPIKeyAuth:
    """The principal as LiteLLM knows people: the tenant is its team, the key's id (hashed, as it hashes keys)
    its key."""
    return UserAPIKeyAuth(
        api_key=hash_key(principal.key_id),
        key_alias=principal.key_name or principal.key_id,
        team_id=principal.tenant,
        team_alias=principal.tenant,
        user_id=principal.tenant,
        user_role=LitellmUserRoles.PROXY_ADMIN
        if principal.role == "admin"
        else LitellmUserRoles.INTERNAL_USER,
    )


@lru_cache(maxsize=4096)
def _key_metadata(principal: Principal) -> Mapping[str, Any]:
    data: dict[str, Any] = {"metadata": {}}
    return dict(
        LiteLLMProxyRequestSetup.add_user_api_key_auth_to_request_metadata(
            data, user_of(principal), "metadata"
        )["metadata"]
    )


@dataclass(frozen=True, slots=True)
class Request:
    """One call as LiteLLM sees it; `data` is LiteLLM's own kind of request dictionary, which its hooks may
    change."""

    data: dict[str, Any]
    user: UserAPIKeyAuth
    hooked: bool


class Engine:
    def __init__(self, handler: object) -> None:
        self._handler = handler

    @staticmethod
    async def rehearse(*, stream: bool) -> None:
        """A call that no provider and no callback sees."""
        message = {"role": "user", "content": "warm"}
        answer = await litellm.acompletion(
            model="openai/gpt-4o-mini",
            messages=[message],
            mock_response="up",
            stream=stream,
            **{"no-log": True},
        )
        if stream:
            async for _ in answer:
                pass

    async def prepare(self, call: Call) -> Request:
        """Builds the arguments and runs the pre-call hooks of the YAML's callbacks and guardrails; they may
        raise."""
        request = Request(_arguments(call), user_of(call.principal), host.foreign_callbacks(self._handler))
        if not request.hooked:
            return request
        logging_obj, data = litellm.utils.function_setup(
            original_function="acompletion",
            rules_obj=Rules(),
            start_time=datetime.now(UTC).replace(tzinfo=None),
            **request.data,
        )
        data["litellm_logging_obj"] = logging_obj
        data = await host.proxy_logging().pre_call_hook(
            user_api_key_dict=request.user, data=data, call_type="acompletion"
        )
        return Request(data, request.user, hooked=True)

    async def ask(self, request: Request) -> Any:
        """One attempt: a `ModelResponse`, or the stream of its chunks. Raises LiteLLM's exceptions."""
        router = host.llm_router()
        if router is None:
            raise Unavailable("The gateway has no models: `model_list` of the proxy's YAML is empty.")
        if not request.hooked:
            return await router.acompletion(**request.data)
        async with asyncio.TaskGroup() as group:
            group.create_task(
                host.proxy_logging().during_call_hook(
                    data=request.data, user_api_key_dict=request.user, call_type="acompletion"
                )
            )
            answer = group.create_task(router.acompletion(**request.data))
        return answer.result()

    async def after_success(self, request: Request, response: Any) -> Any:
        if not request.hooked:
            return response
        return await host.proxy_logging().post_call_success_hook(
            data=request.data, response=response, user_api_key_dict=request.user
        )

    async def after_failure(self, request: Request, error: Exception) -> Exception:
        """Tells other people's callbacks, who may put an error of their own in its place."""
        if not request.hooked:
            return error
        replaced = await host.proxy_logging().post_call_failure_hook(
            request_data=request.data, original_exception=error, user_api_key_dict=request.user
        )
        return replaced or error

    async def chunks(self, request: Request, response: Any) -> AsyncIterator[Any]:
        """The stream's chunks, through the streaming hooks of other people's callbacks where there are
        any."""
        hooks = host.proxy_logging()
        source = response
        if request.hooked and hooks.needs_iterator_wrap():
            source = hooks.async_post_call_streaming_iterator_hook(
                user_api_key_dict=request.user, response=response, request_data=request.data
            )
        each = request.hooked and hooks.needs_per_chunk_streaming_hook()
        text = ""
        async for chunk in source:
            if each:
                text += litellm.get_response_string(response_obj=chunk)
                chunk = await hooks.async_post_call_streaming_hook(
                    data=request.data, response=chunk, user_api_key_dict=request.user, str_so_far=text
                )
            yield chunk


def _arguments(call: Call) -> dict[str, Any]:
    body = dict(call.body)
    metadata = {
        **_key_metadata(call.principal),
        "requester_metadata": body.pop("metadata", None) or {},
        "headers": {name: call.headers[name] for name in _SEEN_HEADERS if name in call.headers},
        "endpoint": call.route,
        "user_api_key_request_route": call.route,
        "user_api_key_end_user_id": body.get("user"),
        "sentinella_request_id": call.id,
    }
    if call.stream:
        options: Any = body.get("stream_options") or {}
        body["stream_options"] = {**options, "include_usage": True}
    if call.options.session_id:
        body["litellm_session_id"] = metadata["session_id"] = call.options.session_id
    return {
        **body,
        "model": call.model,
        "stream": call.stream,
        "litellm_call_id": call.id,
        "metadata": metadata,
        "proxy_server_request": {
            "url": call.route,
            "method": "POST",
            "headers": metadata["headers"],
            "body": {**call.body, "model": call.model},
        },
    }
