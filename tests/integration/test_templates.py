"""Templates through the real proxy."""

from __future__ import annotations

import json
from typing import Any

import httpx
import openai
import pytest

from sentinella_plugins.demo import Demo
from tests.gateway import Gateway, Key
from tests.servers import wait_until

PATH = "/v1/templates"
GREETING = {
    "name": "greeting",
    "template": "Hello {name}, welcome to {company}!",
    "variables": ["name", "company"],
}
ALICE = {"name": "Alice", "company": "Acme Corp"}
SAID = {"role": "user", "content": "Hello Alice, welcome to Acme Corp!"}


@pytest.fixture
def key(gateway: Gateway) -> Key:
    return gateway.tenant()


def chat(
    gateway: Gateway, key: Key, template: dict[str, Any], messages: list[Any] | None = None, **fields: Any
) -> Any:
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=key.key, max_retries=0) as client:
        answer = client.chat.completions.create(
            model="gpt-4o-mini", messages=messages or [], extra_body={"template": template}, **fields
        )
        return list(answer) if fields.get("stream") else answer


def seen(demo: Demo) -> dict[str, Any]:
    """What the upstream got last."""
    body: dict[str, Any] = demo.requests()[-1]["body"]
    return body


def test_from_a_template_to_an_answer(gateway: Gateway, demo: Demo, key: Key) -> None:
    with gateway.client(key) as client:
        assert client.post(PATH, json=GREETING).status_code == 201
        made = client.post(f"{PATH}/greeting/render", json={"variables": ALICE, "version": None}).json()
        assert (made["text"], made["version"]) == (SAID["content"], 1)
        answer = chat(gateway, key, {"name": "greeting", "variables": ALICE})
        assert answer.choices[0].message.content
        assert seen(demo)["messages"] == [SAID] and "template" not in seen(demo)
        more = {"role": "user", "content": "{name}"}
        chat(gateway, key, {"name": "greeting", "version": 1, "variables": ALICE}, [more])
        assert seen(demo)["messages"] == [SAID, more]
        body = {"model": "gpt-4o-mini", "template": {"name": "greeting", "variables": ALICE}}
        assert client.post("/v1/chat/completions", json=body).status_code == 200

        def counted() -> bool:
            stats = client.get(f"{PATH}/greeting/stats").json()["data"][0]
            return bool(stats["calls"] == 3 and stats["cost_usd"] != "0.00")

        wait_until(counted)


def test_a_stream_with_a_label(gateway: Gateway, demo: Demo, key: Key) -> None:
    with gateway.client(key) as client:
        client.post(PATH, json={**GREETING, "labels": ["production"]}).raise_for_status()
        client.put(f"{PATH}/greeting", json={"template": "Bye {name}, {company}"}).raise_for_status()
    template = {"name": "greeting", "label": "production", "variables": ALICE}
    chunks = chat(gateway, key, template, stream=True)
    assert "".join(c.delta.content or "" for chunk in chunks for c in chunk.choices)
    assert seen(demo)["messages"] == [SAID]
    chat(gateway, key, {"name": "greeting", "variables": ALICE})
    assert seen(demo)["messages"][0]["content"] == "Bye Alice, Acme Corp"


@pytest.mark.parametrize(
    ("variables", "code", "param"),
    [
        ({"name": "Alice"}, "template_variable_missing", "company"),
        ({**ALICE, "surname": "x"}, "template_variable_unknown", "surname"),
    ],
)
def test_wrong_variables(
    gateway: Gateway, key: Key, variables: dict[str, Any], code: str, param: str
) -> None:
    with gateway.client(key) as client:
        client.post(PATH, json=GREETING).raise_for_status()
        rendered = client.post(f"{PATH}/greeting/render", json={"variables": variables})
    with pytest.raises(openai.UnprocessableEntityError) as caught:
        chat(gateway, key, {"name": "greeting", "variables": variables})
    assert (caught.value.code, caught.value.param) == (code, param)
    error = rendered.json()["error"]
    assert (rendered.status_code, error["code"], error["param"]) == (422, code, param)
    assert f"`{param}`" in error["message"] and f"`{param}`" in caught.value.message


def test_an_injected_template_stays_text(gateway: Gateway, demo: Demo, key: Key) -> None:
    hostile = "{company} {{ company }} {% for x in range(9) %}"
    for syntax, text in (("simple", "<{name}>"), ("jinja2", "<{{ name }}>")):
        with gateway.client(key) as client:
            body = {"name": syntax, "template": text, "syntax": syntax, "variables": ["name"]}
            client.post(PATH, json=body).raise_for_status()
        chat(gateway, key, {"name": syntax, "variables": {"name": hostile}})
        assert seen(demo)["messages"] == [{"role": "user", "content": f"<{hostile}>"}]


def test_templates_of_others_are_not_there(gateway: Gateway, key: Key) -> None:
    stranger = gateway.tenant("stranger")
    with gateway.client(key) as client:
        made = client.post(PATH, json=GREETING).json()
    with gateway.client(stranger) as client:
        for ref in ("greeting", made["id"]):
            answer = client.get(f"{PATH}/{ref}")
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "template_not_found")
            with pytest.raises(openai.NotFoundError) as caught:
                chat(gateway, stranger, {"name": ref, "variables": ALICE})
            assert caught.value.code == "template_not_found"


def test_strangers_stay_outside(gateway: Gateway) -> None:
    for method in ("GET", "POST"):
        answer = httpx.request(method, gateway.url + PATH, json=GREETING, trust_env=False)
        assert answer.status_code == 401, json.dumps(answer.json())


def test_administrators_see_them_in_litellms_prompt_management(gateway: Gateway, key: Key) -> None:
    name = "welcome_view.v2"
    with gateway.client(key) as client:
        assert client.post(PATH, json={**GREETING, "name": name}).status_code == 201
        assert client.get("/prompts/list").status_code == 403
    prompt = f"{key.tenant}:welcome_view.\u200bv2"

    def listed() -> dict[str, Any]:
        return {one["prompt_id"]: one for one in gateway.admin.get("/prompts/list").json()["prompts"]}

    wait_until(lambda: prompt in listed(), 20)
    shown = gateway.admin.get(f"/prompts/{prompt}.v1/info").json()
    assert GREETING["template"] in shown["raw_prompt_template"]["content"]
    assert shown["raw_prompt_template"]["metadata"]["variables"] == ["name", "company"]
    with gateway.client(key) as client:
        assert client.delete(f"{PATH}/{name}").status_code == 200
    wait_until(lambda: prompt not in listed(), 20)
