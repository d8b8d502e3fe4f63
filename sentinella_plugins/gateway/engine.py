"""One attempt of a call: arguments for LiteLLM, other people's hooks, and which road it takes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import litellm
from litellm.litellm_core_utils.rules import Rules
from litellm.proxy._types import LitellmUserRoles, UserAPIKeyAuth

from sentinella_plugins.gateway import answers, host
from sentinella_plugins.gateway.catalogue import LiteLLMCatalogue
from sentinella_plugins.gateway.honest_streams import ProviderStream
from sentinella_plugins.gateway.pipe import Pipe, Timeouts
from sentinella_plugins.kernel.call import Call, Principal, Usage
from sentinella_plugins.kernel.errors import Unavailable
from sentinella_plugins.kernel.money import Nano, nano
from sentinella_plugins.kernel.secrets import hash_key

_THINK_WHEN_ASKED = frozenset({"anthropic", "mistral"})
_ASKED_TO_THINK = ("thinking", "reasoning_effort")
_CREDENTIALS = frozenset({"authorization", "x-api-key", "api-key", "cookie", "proxy-authorization"})


@lru_cache(maxsize=4096)
def user_of(principal: Principal) -> UserAPIKeyAuth:
    """The principal as LiteLLM knows people: the tenant is its team, the hashed id of the key its key."""
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


@dataclass(frozen=True, slots=True)
class Request:
    """One call as LiteLLM sees it; `data` is LiteLLM's own kind of dictionary, which its hooks may change."""

    data: dict[str, Any]
    user: UserAPIKeyAuth
    hooked: bool
    heard: bool

    def asking(self, model: str, messages: list[Any] | None = None) -> Request:
        changes = {"model": model} if messages is None else {"model": model, "messages": messages}
        return replace(self, data={**self.data, **changes})

    def without(self, tokens: int) -> Request:
        """With so many tokens of the answer's allowance used up."""
        names = [name for name in ("max_tokens", "max_completion_tokens") if self.data.get(name)]
        left = {name: max(1, self.data[name] - tokens) for name in names}
        return replace(self, data={**self.data, **left})


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer in OpenAI's shape, what it used and what it cost."""

    body: dict[str, Any]
    model: str
    provider: str
    usage: Usage
    cost: Nano


class Engine:
    def __init__(self, handler: object, catalogue: LiteLLMCatalogue, pipe: Pipe, timeouts: Timeouts) -> None:
        self._handler = handler
        self._catalogue = catalogue
        self._pipe = pipe
        self._timeouts = timeouts

    async def count(self, text: str) -> int:
        return await self._catalogue.count_text(text)

    def public_name(self, model: str) -> str:
        return self._catalogue.public_name(model)[0]

    def prefills(self, model: str) -> bool:
        """Whether a model goes on from an assistant's unfinished turn."""
        return self._can(model, "prefill")

    def reasons(self, request: Request) -> bool:
        """Whether the model may think long before its first word."""
        card = self._catalogue.find(request.data["model"])
        if card is None or "reasoning" not in card.capabilities:
            return False
        return card.provider not in _THINK_WHEN_ASKED or any(map(request.data.get, _ASKED_TO_THINK))

    def _can(self, model: str, capability: str) -> bool:
        card = self._catalogue.find(model)
        return card is not None and capability in card.capabilities

    @staticmethod
    async def rehearse(*, stream: bool) -> None:
        """A call that no provider and no callback sees."""
        message = {"role": "user", "content": "warm"}
        quiet: dict[str, Any] = {"no-log": True}
        answer = await litellm.acompletion(
            model="openai/gpt-4o-mini", messages=[message], mock_response="up", stream=stream, **quiet
        )
        if stream:
            async for _ in answer:
                pass

    async def prepare(self, call: Call) -> Request:
        """Builds the arguments and runs the pre-call hooks of the YAML's callbacks and guardrails; they may
        raise."""
        hooked = host.foreign_callbacks(self._handler)
        heard = hooked or host.listeners(self._handler)
        user = user_of(call.principal)
        data = _arguments(call)
        if heard:
            data = await host.with_proxy_metadata(data, call.route, _headers(call), user, call.received_at)
            data["metadata"]["sentinella_request_id"] = call.id
        request = Request(data, user, hooked, heard)
        if not hooked:
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
        return replace(request, data=data)

    async def complete(self, request: Request) -> Answer:
        """One attempt at a whole answer. Raises whatever went wrong with it."""
        model = request.data["model"]
        params = None if request.heard else self._catalogue.piped(model)
        if params is not None:
            body = await self._pipe.complete(
                params, _provider_body(request), self._timeouts.for_whole_answers()
            )
            name, provider = self._catalogue.public_name(model)
            usage = answers.usage_of_json(body.get("usage"))
            return Answer({**body, "model": name}, name, provider, usage, self._catalogue.cost(model, usage))
        response = await self._ask(request)
        response = await self._after_success(request, response)
        name, provider = self._catalogue.answered_by(response, model)
        usage = answers.usage_of(getattr(response, "usage", None))
        known = host.completed_cost(response)
        cost = self._catalogue.cost(name, usage) if known is None else nano(known)
        return Answer(answers.completion_body(response, name), name, provider, usage, cost)

    async def stream(self, request: Request) -> AsyncGenerator[list[dict[str, Any]], None]:
        """One attempt at a stream: chunks in OpenAI's shape, those that came together in one list. A last
        empty list says that it came to its true end."""
        params = None if request.heard else self._catalogue.piped(request.data["model"])
        chunks = (
            self._litellm_chunks(request)
            if params is None
            else self._pipe.stream(params, _provider_body(request), self._timeouts)
        )
        async with aclosing(chunks):
            async for batch in chunks:
                yield batch

    async def after_failure(self, request: Request, error: Exception) -> Exception:
        """Tells other people's callbacks, who may put an error of their own in its place."""
        if not request.hooked:
            return error
        replaced = await host.proxy_logging().post_call_failure_hook(
            request_data=request.data, original_exception=error, user_api_key_dict=request.user
        )
        return replaced or error

    async def _ask(self, request: Request) -> Any:
        router = host.llm_router()
        if router is None:
            raise Unavailable("The gateway has no models: `model_list` of the proxy's YAML is empty.")
        # What is retried, and on which model, is decided in one place, and that is not here.
        arguments = {**request.data, "num_retries": 0, "disable_fallbacks": True}
        if not request.hooked:
            return await router.acompletion(**arguments)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(
                    host.proxy_logging().during_call_hook(
                        data=request.data, user_api_key_dict=request.user, call_type="acompletion"
                    )
                )
                answer = group.create_task(router.acompletion(**arguments))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return answer.result()

    async def _after_success(self, request: Request, response: Any) -> Any:
        if not request.hooked:
            return response
        return await host.proxy_logging().post_call_success_hook(
            data=request.data, response=response, user_api_key_dict=request.user
        )

    async def _litellm_chunks(self, request: Request) -> AsyncGenerator[list[dict[str, Any]], None]:
        response = await self._ask(request)
        provider = ProviderStream(response)
        async with aclosing(self._hooked(request, response)) as chunks:
            async for chunk in chunks:
                body: dict[str, Any] = chunk.model_dump(exclude_none=True, exclude_unset=True)
                if getattr(chunk, "usage", None) is not None:
                    body["usage"] = chunk.usage.model_dump(exclude_none=True)
                ends = any(choice.get("finish_reason") for choice in body.get("choices") or ())
                if not ends or provider.told_its_end:
                    yield [body]
        if provider.told_its_end:
            yield []

    async def _hooked(self, request: Request, response: Any) -> AsyncGenerator[Any, None]:
        """The stream's chunks, through the streaming hooks of other people's callbacks."""
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
    data: dict[str, Any] = {
        **call.body,
        "model": call.model,
        "stream": call.stream,
        "litellm_call_id": call.id,
    }
    if call.stream:
        data["stream_options"] = {**(data.get("stream_options") or {}), "include_usage": True}
    if call.options.session_id:
        data["litellm_session_id"] = call.options.session_id
    return data


def _headers(call: Call) -> dict[str, str]:
    """Without credentials, and without `x-litellm-*`, from which LiteLLM takes orders."""
    return {
        name: value
        for name, value in call.headers.items()
        if name not in _CREDENTIALS and not name.startswith("x-litellm-")
    }


_FOR_LITELLM_ONLY = ("model", "litellm_call_id", "metadata", "proxy_server_request", "litellm_session_id")


def _provider_body(request: Request) -> dict[str, Any]:
    body = {name: value for name, value in request.data.items() if name not in _FOR_LITELLM_ONLY}
    if not body["stream"]:
        del body["stream"]
    return body
