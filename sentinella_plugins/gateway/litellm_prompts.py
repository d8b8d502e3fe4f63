"""Templates in LiteLLM's prompt management: a copy to look at, for administrators."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime

import yaml
from litellm.proxy.prompts.prompt_registry import IN_MEMORY_PROMPT_REGISTRY, registry_key_for_prompt
from litellm.types.prompts.init_prompts import PromptInfo, PromptLiteLLMParams, PromptSpec

from sentinella_plugins.kernel.errors import Unavailable
from sentinella_plugins.templates.config import TemplatesConfig
from sentinella_plugins.templates.models import Content, Head, Message, Version

logger = logging.getLogger(__name__)
Newest = Callable[[int], Awaitable[Sequence[tuple[Head, Version]]]]
_OWNER = "sentinella"


class Prompts:
    """LiteLLM's registry knows no tenants: an id here is `tenant:name`, and only administrators see it.

    Only descriptions are put there. LiteLLM's own way (`initialize_prompt`) would make a callback of each,
    which takes every call off the short road.
    """

    def __init__(self, newest: Newest, config: TemplatesConfig) -> None:
        self._newest = newest
        self._config = config

    async def run(self) -> None:
        """Until cancelled; what cannot be read now is read the next time."""
        while self._config.prompts_interval_s:
            try:
                await self.refresh()
            except Unavailable as error:
                logger.info("LiteLLM's prompts were not refreshed: %s", error)
            except Exception:
                logger.exception("LiteLLM's prompts were not refreshed")
            await asyncio.sleep(self._config.prompts_interval_s)

    async def refresh(self) -> None:
        """Raises `Unavailable`."""
        found = [_spec(head, version) for head, version in await self._newest(self._config.max_prompts)]
        specs = {registry_key_for_prompt(spec): spec for spec in found}
        known = IN_MEMORY_PROMPT_REGISTRY.IN_MEMORY_PROMPTS
        for key in [key for key, spec in known.items() if spec.created_by == _OWNER and key not in specs]:
            del known[key]
        known.update(specs)


def _spec(head: Head, version: Version) -> PromptSpec:
    # LiteLLM cuts an id at its first `.v`, and without one at its first `_v`.
    name = f"{head.tenant}:{head.name}".replace(".v", ".\u200bv")
    return PromptSpec(
        prompt_id=f"{name}.v{version.number}",
        litellm_params=PromptLiteLLMParams(
            prompt_id=name, prompt_integration="dotprompt", dotprompt_content=_dotprompt(version.content)
        ),
        prompt_info=PromptInfo(prompt_type="config", environment="production"),
        created_at=datetime.fromtimestamp(head.created_at, UTC),
        updated_at=datetime.fromtimestamp(version.created_at, UTC),
        version=version.number,
        environment="production",
        created_by=_OWNER,
    )


def _dotprompt(content: Content) -> str:
    head: Mapping[str, object] = {
        "syntax": content.syntax,
        "description": content.description or "",
        "variables": [variable.name for variable in content.variables or ()],
    }
    messages = content.messages or (Message(role="user", content=content.template or ""),)
    texts = [f"{message.role.capitalize()}: {message.content}" for message in messages]
    return f"---\n{yaml.safe_dump(dict(head), sort_keys=False)}---\n\n" + "\n\n".join(texts)
