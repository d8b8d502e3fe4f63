"""The deployments of the YAML, made ready for this machine."""

from __future__ import annotations

from typing import Any

import pytest

from sentinella_plugins.gateway.deployments import needs_demo, prepare

DEMO = "http://127.0.0.1:9999"


def deployment(model: str, **params: Any) -> dict[str, Any]:
    return {"model_name": "m", "litellm_params": {"model": model, **params}}


def prepared(model: dict[str, Any], demo: str | None = DEMO, **env: str) -> dict[str, Any]:
    return prepare([model], env, demo)[0]


def test_without_its_key_a_provider_is_stood_in_for_by_the_demo() -> None:
    ready = prepared(deployment("anthropic/claude-haiku-5-5", api_key=None))
    assert ready["litellm_params"]["api_base"] == f"{DEMO}/anthropic"
    assert ready["litellm_params"]["api_key"] == "demo"
    assert ready["model_info"]["demo"] is True


def test_with_its_key_a_provider_is_asked_itself() -> None:
    ready = prepared(deployment("openai/gpt-4o", api_key="sk-real"))
    assert "api_base" not in ready["litellm_params"]
    assert "demo" not in ready["model_info"]


@pytest.mark.parametrize(
    ("model", "variable"),
    [
        ("openai/gpt-4o", "OPENAI_API_BASE"),
        ("gemini/gemini-2.5-pro", "GOOGLE_API_BASE"),
        ("cohere_chat/command-a-03-2025", "COHERE_API_BASE"),
        ("xai/grok-4.7", "XAI_API_BASE"),
        ("groq/openai/gpt-oss-20b", "GROQ_API_BASE"),
    ],
)
def test_the_environment_redirects_a_provider(model: str, variable: str) -> None:
    ready = prepared(deployment(model, api_key=None), **{variable: "http://proxy.test"})
    assert ready["litellm_params"]["api_base"] == "http://proxy.test"
    assert "demo" not in ready["model_info"]


def test_a_base_in_the_yaml_is_stronger_than_the_environment() -> None:
    ready = prepared(
        deployment("openai/gpt-4o", api_key="k", api_base="http://a"), OPENAI_API_BASE="http://b"
    )
    assert ready["litellm_params"]["api_base"] == "http://a"


def test_a_deployment_that_names_no_key_needs_none() -> None:
    own = deployment("ollama/llama3", api_base="http://127.0.0.1:11434")
    assert not needs_demo([own])
    assert "demo" not in prepared(own)["model_info"]


@pytest.mark.parametrize(("model", "demo"), [("replicate/some-model", DEMO), ("openai/gpt-4o", None)])
def test_without_a_key_and_without_a_stand_in_no_prompt_is_sent_anywhere(
    model: str, demo: str | None
) -> None:
    assert prepare([deployment(model, api_key=None)], {}, demo) == []


def test_the_yamls_own_entries_stay_as_they_are() -> None:
    model = deployment("openai/gpt-4o", api_key=None)
    prepared(model)
    assert model == deployment("openai/gpt-4o", api_key=None)
