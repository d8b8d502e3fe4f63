"""Where each provider lives on a demo server, as LiteLLM wants to be told."""

from __future__ import annotations

PATHS = {
    "openai": "/openai/v1",
    "anthropic": "/anthropic",
    "gemini": "/gemini/v1beta",
    "xai": "/xai/v1",
    "deepseek": "/deepseek/v1",
    "cohere": "/cohere/v2/chat",
    "mistral": "/mistral/v1",
    "groq": "/groq/v1",
    "together": "/together/v1",
    "deepinfra": "/deepinfra/v1",
}
PREFIXES = {"cohere_chat": "cohere", "together_ai": "together"}
OPENAI_SHAPED = ("openai", "xai", "deepseek", "mistral", "groq", "together", "deepinfra")
MODELS = {
    "openai": ("gpt-4o", "gpt-4o-mini", "gpt-4-turbo", "gpt-4", "gpt-3.5-turbo", "text-embedding-3-small"),
    "anthropic": ("claude-3-5-sonnet-20241022", "claude-3-opus-20240229", "claude-3-haiku-20240307"),
    "gemini": ("gemini-1.5-pro", "gemini-1.5-flash", "gemini-pro"),
    "xai": ("grok-2", "grok-beta"),
    "deepseek": ("deepseek-chat", "deepseek-coder"),
    "cohere": ("command", "command-light"),
    "mistral": ("mistral-large", "mistral-medium", "mistral-small", "mistral-embed"),
    "groq": ("llama-3-70b", "llama-3-8b"),
    "together": ("llama-3-70b", "llama-3-8b"),
    "deepinfra": ("meta-llama/Llama-3.3-70B-Instruct-Turbo",),
}


def stands_in_for(provider: str) -> bool:
    """Whether the demo server speaks the wire format of a LiteLLM provider prefix."""
    return PREFIXES.get(provider, provider) in PATHS


def api_base(root: str, provider: str) -> str:
    """The `api_base` for a LiteLLM provider prefix (`openai`, `gemini`, `cohere_chat`, `together_ai`, ...).

    `root` is the server's URL, for example `http://127.0.0.1:4010`. An unknown provider raises `KeyError`.
    """
    return root.rstrip("/") + PATHS[PREFIXES.get(provider, provider)]
