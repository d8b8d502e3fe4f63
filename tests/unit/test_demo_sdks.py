from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

os.environ |= {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "HF_HUB_OFFLINE": "1"}

import anthropic
import jsonschema
import litellm
import openai
import pytest

from sentinella_plugins.demo import Demo, running_demo

# LiteLLM warns a lot inside itself, and leaves connections unclosed.
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("litellm_rubbish")]
MODELS = {
    "openai": "openai/gpt-4o",
    "anthropic": "anthropic/claude-3-5-sonnet-20241022",
    "gemini": "gemini/gemini-1.5-pro",
    "xai": "xai/grok-2",
    "deepseek": "deepseek/deepseek-chat",
    "cohere": "cohere/command",
    "cohere_chat": "cohere_chat/command-r",
    "mistral": "mistral/mistral-large-latest",
    "groq": "groq/llama-3.3-70b-versatile",
    "together_ai": "together_ai/meta-llama/Llama-3-70b-chat-hf",
}
ASKED = [{"role": "user", "content": "How tall is the Eiffel tower?"}]
SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "minLength": 3},
        "days": {"type": "integer", "minimum": 2, "maximum": 5},
        "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
    },
    "required": ["city", "days", "unit"],
    "additionalProperties": False,
}
WEATHER = {
    "type": "function",
    "function": {"name": "weather", "description": "Weather.", "parameters": SCHEMA},
}
NEWS = {"type": "function", "function": {"name": "news", "description": "News.", "parameters": SCHEMA}}
every_provider = pytest.mark.parametrize("provider", sorted(MODELS))


@pytest.fixture(scope="module")
def server() -> Iterator[Demo]:
    with running_demo() as demo:
        yield demo


@pytest.fixture
def demo(server: Demo) -> Demo:
    server.clear()
    return server


async def ask(demo: Demo, provider: str, **options: Any) -> Any:
    options = {"messages": ASKED, "max_tokens": 200} | options
    target = {"model": MODELS[provider], "api_base": demo.base(provider), "api_key": "demo"}
    return await litellm.acompletion(**target, **options, num_retries=0, timeout=10)


async def streamed(demo: Demo, provider: str, **options: Any) -> Any:
    stream = await ask(demo, provider, stream=True, stream_options={"include_usage": True}, **options)
    return litellm.stream_chunk_builder([chunk async for chunk in stream])


@every_provider
@pytest.mark.asyncio
async def test_litellm_gets_a_whole_answer(demo: Demo, provider: str) -> None:
    answer = await ask(demo, provider)
    text = answer.choices[0].message.content
    assert "Sentinella's demo upstream" in text and "Eiffel" in text
    assert MODELS[provider].split("/")[-1] in text
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.completion_tokens == len(text.split())
    assert answer.usage.prompt_tokens > 5
    assert demo.counts()["total"] == 1


@every_provider
@pytest.mark.asyncio
async def test_litellm_gets_the_same_answer_streamed(demo: Demo, provider: str) -> None:
    whole = await ask(demo, provider)
    parts = await streamed(demo, provider)
    assert parts.choices[0].message.content == whole.choices[0].message.content
    assert parts.choices[0].finish_reason == "stop"
    assert parts.usage.completion_tokens == whole.usage.completion_tokens
    assert parts.usage.prompt_tokens == whole.usage.prompt_tokens


@every_provider
@pytest.mark.parametrize("read", [ask, streamed])
@pytest.mark.asyncio
async def test_litellm_gets_a_tool_call_then_a_quote_of_its_result(
    demo: Demo, provider: str, read: Any
) -> None:
    answer = await read(demo, provider, tools=[WEATHER])
    (call,) = answer.choices[0].message.tool_calls
    assert call.function.name == "weather"
    jsonschema.validate(litellm.utils.json.loads(call.function.arguments), SCHEMA)
    used = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": call.id, "type": "function", "function": dict(call.function)}],
    }
    result = {"role": "tool", "tool_call_id": call.id, "name": "weather", "content": "17 degrees"}
    final = await read(demo, provider, tools=[WEATHER], messages=[*ASKED, used, result])
    assert "17 degrees" in final.choices[0].message.content
    assert not final.choices[0].message.tool_calls


@every_provider
@pytest.mark.asyncio
async def test_max_tokens_is_honoured(demo: Demo, provider: str) -> None:
    answer = await ask(demo, provider, max_tokens=4)
    assert len(answer.choices[0].message.content.split()) == 4
    assert answer.usage.completion_tokens == 4
    if not provider.startswith("cohere"):
        assert answer.choices[0].finish_reason == "length"
    parts = await streamed(demo, provider, max_tokens=4)
    assert parts.choices[0].finish_reason == "length"


@every_provider
@pytest.mark.asyncio
async def test_litellm_recognises_the_errors(demo: Demo, provider: str) -> None:
    too_long = litellm.BadRequestError if provider == "mistral" else litellm.ContextWindowExceededError
    for fault, error in (
        ({"status": 429, "retry_after": 2}, litellm.RateLimitError),
        ({"status": 500}, litellm.InternalServerError),
        ({"status": 503}, (litellm.ServiceUnavailableError, litellm.InternalServerError)),
        ({"status": 401}, litellm.AuthenticationError),
        ({"code": "context_length_exceeded"}, too_long),
    ):
        demo.rule(fault=fault, times=1)
        with pytest.raises(error):
            await ask(demo, provider, max_retries=0)


def test_openai_client_chat(demo: Demo) -> None:
    client = openai.OpenAI(base_url=demo.base("openai"), api_key="demo")
    tools: Any = [WEATHER, NEWS]
    forced: Any = {"type": "function", "function": {"name": "news"}}
    called = client.chat.completions.create(
        model="gpt-4o", messages=ASKED, tools=tools, tool_choice=forced, n=2
    )
    assert [c.message.tool_calls[0].function.name for c in called.choices] == ["news", "news"]
    assert called.choices[0].finish_reason == "tool_calls"
    silent = client.chat.completions.create(model="gpt-4o", messages=ASKED, tools=tools, tool_choice="none")
    assert silent.choices[0].message.tool_calls is None and silent.choices[0].message.content


def test_openai_client_structured_output(demo: Demo) -> None:
    client = openai.OpenAI(base_url=demo.base("openai"), api_key="demo")
    form: Any = {"type": "json_schema", "json_schema": {"name": "trip", "schema": SCHEMA, "strict": True}}
    answer = client.chat.completions.create(model="gpt-4o", messages=ASKED, response_format=form)
    jsonschema.validate(litellm.utils.json.loads(answer.choices[0].message.content), SCHEMA)
    form = {"type": "json_object"}
    answer = client.chat.completions.create(model="gpt-4o", messages=ASKED, response_format=form)
    assert isinstance(litellm.utils.json.loads(answer.choices[0].message.content), dict)


def test_openai_client_stream_with_usage_in_a_chunk_of_its_own(demo: Demo) -> None:
    client = openai.OpenAI(base_url=demo.base("openai"), api_key="demo")
    options = {"include_usage": True}
    chunks = list(
        client.chat.completions.create(
            model="gpt-4o", messages=ASKED, stream=True, stream_options=options, max_tokens=5
        )
    )
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens == 5
    plain = client.chat.completions.create(model="gpt-4o", messages=ASKED, stream=True)
    assert all(chunk.usage is None for chunk in plain)


def test_openai_client_completions(demo: Demo) -> None:
    client = openai.OpenAI(base_url=demo.base("openai"), api_key="demo")
    whole = client.completions.create(model="gpt-3.5-turbo-instruct", prompt="Once upon")
    parts = client.completions.create(model="gpt-3.5-turbo-instruct", prompt="Once upon", stream=True)
    assert "".join(p.choices[0].text for p in parts) == whole.choices[0].text
    assert "Once upon" in whole.choices[0].text


def test_openai_client_embeddings(demo: Demo) -> None:
    client = openai.OpenAI(base_url=demo.base("openai"), api_key="demo")
    model = "text-embedding-3-small"
    a, b = (d.embedding for d in client.embeddings.create(model=model, input=["one", "two"]).data)
    again = client.embeddings.create(model=model, input="one", encoding_format="float").data[0].embedding
    assert len(a) == 1536 and a != b
    assert sum(x * x for x in a) == pytest.approx(1)
    assert again == pytest.approx(a)
    assert len(client.embeddings.create(model=model, input="one", dimensions=64).data[0].embedding) == 64


def test_openai_client_responses(demo: Demo) -> None:
    client = openai.OpenAI(base_url=demo.base("openai"), api_key="demo")
    whole = client.responses.create(model="gpt-4o", input="How tall is it?")
    with client.responses.stream(model="gpt-4o", input="How tall is it?") as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    assert final.output_text == whole.output_text and "How tall" in whole.output_text
    assert kinds[0] == "response.created" and kinds[-1] == "response.completed"
    assert final.usage.output_tokens == len(whole.output_text.split())
    short = client.responses.create(model="gpt-4o", input="How tall is it?", max_output_tokens=3)
    assert short.status == "incomplete" and short.incomplete_details.reason == "max_output_tokens"


def test_openai_client_responses_with_a_tool(demo: Demo) -> None:
    client = openai.OpenAI(base_url=demo.base("openai"), api_key="demo")
    tool: Any = {"type": "function", **WEATHER["function"], "strict": True}
    with client.responses.stream(model="gpt-4o", input="Weather?", tools=[tool]) as stream:
        (call,) = stream.get_final_response().output
    jsonschema.validate(litellm.utils.json.loads(call.arguments), SCHEMA)
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "17 degrees"}
    asked: Any = [{"role": "user", "content": "Weather?"}, call.model_dump(), result]
    assert "17 degrees" in client.responses.create(model="gpt-4o", input=asked, tools=[tool]).output_text


def test_openai_client_models(demo: Demo) -> None:
    client = openai.OpenAI(base_url=demo.base("groq"), api_key="demo")
    assert "llama-3-70b" in [m.id for m in client.models.list()]


def test_anthropic_client(demo: Demo) -> None:
    client = anthropic.Anthropic(base_url=demo.base("anthropic"), api_key="demo")
    asked: Any = {"model": "claude-3-haiku-20240307", "max_tokens": 99, "messages": ASKED}
    whole = client.messages.create(**asked, system="Be short.")
    with client.messages.stream(**asked, system="Be short.") as stream:
        assert stream.get_final_text() == whole.content[0].text
        assert stream.get_final_message().usage.output_tokens == whole.usage.output_tokens
    tool = {"name": "weather", "description": "Weather.", "input_schema": SCHEMA}
    with client.messages.stream(**asked, tools=[tool]) as stream:
        called = stream.get_final_message()
    jsonschema.validate(called.content[0].input, SCHEMA)
    assert called.stop_reason == "tool_use"


def test_anthropic_client_errors(demo: Demo) -> None:
    client = anthropic.Anthropic(base_url=demo.base("anthropic"), api_key="demo", max_retries=0)
    demo.rule(provider="anthropic", fault={"status": 529})
    with pytest.raises(anthropic.InternalServerError) as caught:
        client.messages.create(model="claude-3-haiku-20240307", max_tokens=9, messages=ASKED)
    assert caught.value.body["error"]["type"] == "overloaded_error"
