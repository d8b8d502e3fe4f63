"""A small catalogue, calls, and how they end."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from sentinella_plugins.kernel.call import Attempt, Call, Json, Options, Outcome, Principal, Usage
from sentinella_plugins.kernel.catalogue import ModelCard
from sentinella_plugins.kernel.money import Nano, nano
from sentinella_plugins.router.models import Policy
from sentinella_plugins.vectors.models import Encoding

CHAT = "/v1/chat/completions"
ANY = Policy(allowed=lambda _name: True)
_numbers = itertools.count()


def card(name: str, price: float | None = 1.0, **fields: Any) -> ModelCard:
    """`price` in USD per million output tokens; input costs a quarter."""
    given: dict[str, Any] = {
        "provider": name.partition("-")[0],
        "upstream": f"up/{name}",
        "context_window": 128_000,
        "max_output_tokens": 16_000,
        "input_usd_per_million": None if price is None else price / 4,
        "output_usd_per_million": price,
        "capabilities": ("tools", "vision", "json_schema"),
    }
    return ModelCard(name=name, **{**given, **fields})


SMALL, MIDDLE, LARGE = card("acme-small", 0.4), card("beta-middle", 4.0), card("gamma-large", 60.0)
CARDS = (SMALL, MIDDLE, LARGE)


class Shelf:
    def __init__(self, cards: Sequence[ModelCard] = CARDS) -> None:
        self.all = tuple(cards)

    def cards(self) -> Sequence[ModelCard]:
        return self.all

    def find(self, name: str) -> ModelCard | None:
        return next((one for one in self.all if one.name == name), None)

    async def count_prompt(self, model: str, body: Json) -> int:
        return 0

    def cost(self, model: str, usage: Usage) -> Nano:
        found = self.find(model)
        return nano((found.output_usd_per_million or 0) * usage.completion / 1e6) if found else Nano(0)


class Letters:
    """An encoder that knows a text by its letters."""

    name = "letters"
    dimensions = 26

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def encode(self, texts: Sequence[str]) -> Sequence[Encoding]:
        self.asked += texts
        return [encoding(text) for text in texts]


def encoding(text: str) -> Encoding:
    vector = np.array([text.lower().count(chr(97 + index)) + 1e-3 for index in range(26)], dtype=np.float32)
    return Encoding(text, vector / np.linalg.norm(vector), np.zeros((0, 26), dtype=np.float32))


def call(
    text: str = "What is the capital of France?",
    *,
    tenant: str = "acme",
    model: str = "auto",
    session: str | None = None,
    routing: Json | None = None,
    **fields: Any,
) -> Call:
    """A chat call with an id of its own; `fields` are the body's, `stream` and `role` the call's."""
    number = next(_numbers)
    identity = fields.pop("id", None) or f"req_{hashlib.sha256(str(number).encode()).hexdigest()[:32]}"
    role = fields.pop("role", "member")
    stream = bool(fields.pop("stream", False))
    return Call(
        id=identity,
        route=fields.pop("route", CHAT),
        requested="" if model == "auto" else model,
        model=model,
        body={"messages": [{"role": "user", "content": text}], **fields},
        options=Options(session_id=session, routing=routing or {}),
        stream=stream,
        principal=Principal(tenant=tenant, key_id="key_1", role=role),
        received_at=1_700_000_000.0,
        started=0.0,
    )


def answered(
    model: str, *, tokens: int = 100, ms: float = 1_000.0, usd: str = "0.001", text: str = "Paris."
) -> Outcome:
    body = {"choices": [{"message": {"role": "assistant", "content": text}}]}
    return Outcome(
        status="success",
        model=model,
        provider="p",
        usage=Usage(prompt=20, completion=tokens),
        cost=nano(usd),
        latency_ms=ms,
        attempts=(Attempt(model=model, provider="p", status="success", ms=ms, cost=nano(usd)),),
        body=body,
    )


def failed(model: str, code: str = "upstream_error") -> Outcome:
    attempt = Attempt(model=model, provider="p", status="error", ms=50.0, error=code)
    return Outcome(status="error", model=model, provider="p", latency_ms=60.0, attempts=(attempt,))
