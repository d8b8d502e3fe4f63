"""What the gateway's tool loop and templates take of their own: `python -m benchmarks.turns --json FILE`.

In process, with the real rooms, pipeline and conductor over SQLite; the model and the tools answer at once. A
step of the loop is one answer of the model that asks for a tool, and that tool's run: a call of eight steps
less one without any, divided by eight. `use` of a template is what a call with `template` takes more.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory
from typing import Any

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # else it is fetched

from sentinella_plugins.app import Sentinella
from sentinella_plugins.bootstrap import Keys
from sentinella_plugins.gateway.catalogue import LiteLLMCatalogue
from sentinella_plugins.gateway.conductor import Conductor
from sentinella_plugins.gateway.engine import Answer, Engine, Request
from sentinella_plugins.gateway.pipe import Pipe, Timeouts
from sentinella_plugins.kernel.call import Call, Options, Principal, Usage
from sentinella_plugins.kernel.ids import new_id
from sentinella_plugins.settings import Settings
from sentinella_plugins.templates.models import NewTemplate

MODEL, STEPS, WARM = "gpt-4o-mini", 8, 30
WHO = Principal(tenant="default", key_id="key")
USAGE = {"prompt_tokens": 200, "completion_tokens": 20, "total_tokens": 220}
SCHEMA = {
    "type": "object",
    "properties": {
        "article": {"type": "string", "maxLength": 100},
        "colours": {"type": "array", "items": {"enum": ["red", "green", "blue"]}},
        "limit": {"type": "integer", "minimum": 1, "maximum": 50},
    },
    "required": ["article"],
    "additionalProperties": False,
}
ARGUMENTS = json.dumps({"article": "umbrella", "colours": ["red", "blue"], "limit": 5})
SIMPLE = "You are the {tone} assistant of {shop}. Answer in {language}. " + "Be brief and exact. " * 40
VARIABLES = {"tone": "friendly", "shop": "Rain & Sons", "language": "English"}
JINJA = [
    {"role": "system", "content": "You work for {{ shop }}.{% if tone %} Be {{ tone | lower }}.{% endif %}"},
    {
        "role": "user",
        "content": "{% for article in articles %}- {{ article.name }}: {{ article.pieces }} pieces\n"
        "{% endfor %}Answer in {{ language }}.",
    },
]
JINJA_VARIABLES = [*VARIABLES, {"name": "articles", "type": "array"}]
ARTICLES = [{"name": f"umbrella {number}", "pieces": number} for number in range(10)]
Timing = dict[str, float]


async def quick(article: str, colours: Sequence[str] = (), limit: int = 1) -> dict[str, object]:
    return {"article": article, "pieces": 12}


def quick_in_a_thread(article: str, colours: Sequence[str] = (), limit: int = 1) -> dict[str, object]:
    return {"article": article, "pieces": 12}


class Instant(Engine):
    """A model that asks for `tool` so often, then answers: at once."""

    def __init__(self, catalogue: LiteLLMCatalogue) -> None:
        super().__init__(None, catalogue, Pipe(10), Timeouts(1, 1, 1, 1))
        self.catalogue = catalogue
        self.tool, self.calls, self.left = "quick", 1, 0

    def _says(self) -> dict[str, Any]:
        self.left -= 1
        if self.left < 0:
            return {"role": "assistant", "content": "There are twelve."}
        asked = {"name": self.tool, "arguments": ARGUMENTS}
        ids = [f"call_{self.left}_{number}" for number in range(self.calls)]
        calls = [{"id": one, "type": "function", "function": asked} for one in ids]
        return {"role": "assistant", "content": None, "tool_calls": calls}

    async def complete(self, request: Request) -> Answer:
        message = self._says()
        finish = "tool_calls" if message.get("tool_calls") else "stop"
        body = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": MODEL, "usage": USAGE}
        body["choices"] = [{"index": 0, "message": message, "finish_reason": finish}]
        usage = Usage(prompt=200, completion=20)
        return Answer(body, MODEL, "openai", usage, self.catalogue.cost(MODEL, usage))

    async def stream(self, request: Request) -> AsyncGenerator[list[dict[str, Any]], None]:
        message = self._says()
        calls = message.get("tool_calls")
        delta = (
            {**message, "tool_calls": [{**c, "index": at} for at, c in enumerate(calls)]}
            if calls
            else message
        )
        base = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": MODEL}
        ends = {"index": 0, "delta": {}, "finish_reason": "tool_calls" if calls else "stop"}
        yield [{**base, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}]
        yield [{**base, "choices": [ends]}, {**base, "choices": [], "usage": USAGE}]
        yield []


class House:
    """One worker without LiteLLM's server around it."""

    def __init__(self, folder: Path) -> None:
        tools = [
            {"kind": "python", "name": name, "function": f"benchmarks.turns:{name}", "parameters": SCHEMA}
            for name in ("quick", "quick_in_a_thread")
        ]
        settings = Settings.model_validate(
            {"data_dir": folder, "cache": {"enabled": False}, "tools": {"registered": tools}}
        )
        catalogue = LiteLLMCatalogue()
        deployment = {"model_name": MODEL, "litellm_params": {"model": f"openai/{MODEL}"}}
        catalogue.fill([{**deployment, "model_info": {"id": "1"}}])
        self.engine = Instant(catalogue)
        self.app = Sentinella(settings, Keys("sk-bench-master", "sk-bench-member"), catalogue)
        self.conductor = Conductor(
            self.engine,
            catalogue,
            self.app.pipeline,
            self.app.fallback,
            self.app.tools,
            self.app.wishes,
            self.app.clock,
        )

    async def answered(self, *, stream: bool = False) -> float:
        """Seconds of a call from the pipeline's door to its end."""
        call = a_call(stream=stream, tool_execution="gateway")
        begun = time.perf_counter()
        call, _ = await self.app.pipeline.enter(call)
        if stream:
            await self.conductor.play(call, _nobody, wants_usage=False)
        else:
            await self.conductor.ask(call)
        return time.perf_counter() - begun

    async def step(self, tool: str, *, calls: int = 1, stream: bool = False) -> float:
        """Seconds of one step."""
        self.engine.tool, self.engine.calls = tool, calls
        took = []
        for steps in (0, STEPS):
            self.engine.left = steps
            took.append(await self.answered(stream=stream))
            if self.engine.left != -1:
                raise RuntimeError(f"the loop ended with {self.engine.left} answers left")
        return (took[1] - took[0]) / STEPS

    async def used(self, name: str, **variables: object) -> float:
        """Seconds that a template takes of a call."""
        call = a_call(template={"name": name, "label": "production", "variables": variables})
        begun = time.perf_counter()
        await self.app.templates.use(call)
        return time.perf_counter() - begun


async def _nobody(_message: object) -> None: ...


def a_call(*, stream: bool = False, **options: Any) -> Call:
    body = {"messages": [{"role": "user", "content": "How many umbrellas are there?"}]}
    return Call(
        id=new_id("req"),
        route="/v1/chat/completions",
        requested=MODEL,
        model=MODEL,
        body=body,
        given=body,
        stream=stream,
        options=Options(cache={"mode": "bypass"}, **options),
        principal=WHO,
        received_at=time.time(),
        started=time.perf_counter(),
    )


async def timed(rounds: int, work: Callable[[], Awaitable[float]]) -> Timing:
    """`work` gives its own seconds."""
    for _ in range(WARM):
        await work()
    samples = [await work() * 1000 for _ in range(rounds)]
    cuts = quantiles(samples, n=100)
    return {"p50_ms": round(cuts[49], 3), "p99_ms": round(cuts[98], 3)}


async def measure(rounds: int) -> dict[str, Timing]:
    async with AsyncExitStack() as stack:
        house = House(Path(stack.enter_context(TemporaryDirectory(prefix="sentinella-bench-"))))
        await stack.enter_async_context(house.app)
        for new in (
            {"name": "simple", "template": SIMPLE, "variables": [*VARIABLES]},
            {"name": "jinja2", "syntax": "jinja2", "messages": JINJA, "variables": JINJA_VARIABLES},
        ):
            made = NewTemplate.model_validate({**new, "labels": ["production"]})
            await house.app.templates.create(WHO.tenant, made)
        jinja = {**VARIABLES, "articles": ARTICLES}
        loops: dict[str, Callable[[], Awaitable[float]]] = {
            "step, async function": lambda: house.step("quick"),
            "step, function in a thread": lambda: house.step("quick_in_a_thread"),
            "step of 3 calls, async function": lambda: house.step("quick", calls=3),
            "streamed step, async function": lambda: house.step("quick", stream=True),
        }
        renderings: dict[str, Callable[[], Awaitable[float]]] = {
            "template, simple text of 3 variables": lambda: house.used("simple", **VARIABLES),
            "template, Jinja2 chat with a loop of 10": lambda: house.used("jinja2", **jinja),
        }
        found = {name: await timed(rounds, work) for name, work in loops.items()}
        return found | {name: await timed(10 * rounds, work) for name, work in renderings.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    parse = argparse.ArgumentParser("python -m benchmarks.turns", description=__doc__)
    parse.add_argument("--json", type=Path, help="write what the table shows")
    parse.add_argument("--rounds", type=int, default=200)
    given = parse.parse_args(arguments)
    results = asyncio.run(measure(given.rounds))
    print(table(results))
    if given.json:
        dated = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "rounds": given.rounds}
        given.json.write_text(json.dumps({**dated, "results": results}, indent=2) + "\n")
    return 0


def table(results: dict[str, Timing]) -> str:
    lines = ["| what | p50 ms | p99 ms |", "|--|--:|--:|"]
    return "\n".join(
        lines + [f"| {what} | {row['p50_ms']} | {row['p99_ms']} |" for what, row in results.items()]
    )


if __name__ == "__main__":
    sys.exit(main())
