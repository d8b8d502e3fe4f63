"""`/v1/templates` over HTTP."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.unit.templates.conftest import GREETING, house

pytestmark = pytest.mark.asyncio
PATH = "/v1/templates"
ALICE = {"name": "Alice", "company": "Acme Corp"}


async def ok(answer: httpx.Response, status: int = 200) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def test_a_template_comes_back_as_it_was_made(tmp_path: Path) -> None:
    async with house(tmp_path) as found, found.client() as http:
        made = await ok(await http.post(PATH, json=GREETING), 201)
        assert made["object"] == "template" and made["id"].startswith("tmpl_")
        assert made == made | GREETING | {"version": 1, "syntax": "simple", "labels": {}, "messages": None}
        for ref in ("greeting", made["id"]):
            assert await ok(await http.get(f"{PATH}/{ref}")) == made
        again = await http.post(PATH, json=GREETING)
        assert (again.status_code, again.json()["error"]["code"]) == (409, "conflict")


async def test_a_rendering(tmp_path: Path) -> None:
    async with house(tmp_path) as found, found.client() as http:
        made = await ok(await http.post(PATH, json=GREETING), 201)
        body = {"variables": ALICE, "version": None}
        told = await ok(await http.post(f"{PATH}/greeting/render", json=body))
        text = "Hello Alice, welcome to Acme Corp!"
        assert told == {
            "object": "template.rendering",
            "id": made["id"],
            "name": "greeting",
            "version": 1,
            "text": text,
            "messages": [{"role": "user", "content": text}],
        }
        for variables, code, param in (
            ({"name": "x"}, "template_variable_missing", "company"),
            ({**ALICE, "more": 1}, "template_variable_unknown", "more"),
        ):
            answer = await http.post(f"{PATH}/greeting/render", json={"variables": variables})
            error = answer.json()["error"]
            assert (answer.status_code, error["code"], error["param"]) == (422, code, param)
            assert f"`{param}`" in error["message"]
        huge = {"variables": {"name": "x" * 2_000_000, "company": ""}}
        answer = await http.post(f"{PATH}/greeting/render", json=huge)
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "template_too_large")


async def test_the_life_of_a_template(tmp_path: Path) -> None:
    async with house(tmp_path) as found, found.client() as http:
        made = await ok(await http.post(PATH, json=GREETING), 201)
        two = await ok(
            await http.put(f"{PATH}/greeting", json={"template": "Bye {name}", "labels": ["staging"]})
        )
        assert (two["version"], two["template"], two["labels"]) == (2, "Bye {name}", {"staging": {"2": 1.0}})
        three = await ok(await http.post(f"{PATH}/{made['id']}/rollback", json={"version": 1}))
        assert (three["version"], three["template"]) == (3, GREETING["template"])
        assert three["source"] == "rollback"
        labels = {"labels": {"production": {"1": 0.9, "2": 0.1}, "staging": None, "old": 1}}
        labelled = await ok(await http.put(f"{PATH}/greeting/labels", json=labels))
        assert labelled["labels"] == {"production": {"1": 0.9, "2": 0.1}, "old": {"1": 1.0}}
        old = await ok(await http.get(f"{PATH}/greeting", params={"label": "old"}))
        assert (old["version"], old["newest_version"]) == (1, 3)
        page = await ok(await http.get(f"{PATH}/greeting/versions", params={"limit": 2}))
        assert [version["version"] for version in page["data"]] == [3, 2] and page["has_more"]
        after = page["data"][-1]["id"]
        rest = await ok(await http.get(f"{PATH}/greeting/versions", params={"after": after}))
        assert [version["labels"] for version in rest["data"]] == [["old", "production"]]
        diff = await ok(await http.get(f"{PATH}/greeting/diff", params={"from": 1, "to": 2}))
        assert [change["field"] for change in diff["changes"]] == ["template"]
        assert "+template: Bye {name}" in diff["unified"]
        last = await ok(await http.get(f"{PATH}/greeting/diff"))
        assert (last["from_version"], last["to_version"]) == (2, 3)
        stats = await ok(await http.get(f"{PATH}/greeting/stats"))
        assert [(row["version"], row["calls"], row["rating"]) for row in stats["data"]] == [
            (3, 0, None),
            (2, 0, None),
            (1, 0, None),
        ]
        gone = await ok(await http.delete(f"{PATH}/greeting"))
        assert gone == {"id": made["id"], "object": "template.deleted", "deleted": True}
        assert (await http.get(f"{PATH}/greeting")).status_code == 404


async def test_an_export_is_a_file_of_the_folder(tmp_path: Path) -> None:
    async with house(tmp_path) as found, found.client() as http:
        await http.post(PATH, json={**GREETING, "template": "Hello {name}\n{company}"})
        answer = await http.get(f"{PATH}/greeting/export")
        assert answer.headers["content-type"].startswith("application/yaml")
        content = yaml.safe_load(answer.text)
        assert content == {**GREETING, "syntax": "simple", "template": "Hello {name}\n{company}"}
        again = await http.post(PATH, json={**content, "name": "copy"})
        assert again.status_code == 201


async def test_pages(tmp_path: Path) -> None:
    async with house(tmp_path) as found, found.client() as http:
        for number in range(3):
            await http.post(PATH, json={"name": f"t{number}", "template": str(number)})
        await http.put(f"{PATH}/t1", json={"template": "new"})
        first = await ok(await http.get(PATH, params={"limit": 2}))
        rest = await ok(await http.get(PATH, params={"after": first["data"][-1]["id"]}))
        assert (first["object"], first["has_more"], rest["has_more"]) == ("list", True, False)
        texts = {row["name"]: row["template"] for row in first["data"] + rest["data"]}
        assert texts == {"t0": "0", "t1": "new", "t2": "2"}


async def test_tenants_do_not_see_one_another(tmp_path: Path) -> None:
    async with house(tmp_path) as found, found.client() as http, found.client("other") as stranger:
        made = await ok(await http.post(PATH, json=GREETING), 201)
        for ref in ("greeting", made["id"]):
            for method, path, body in (
                ("GET", "", None),
                ("PUT", "", {"template": "x"}),
                ("DELETE", "", None),
                ("GET", "/versions", None),
                ("GET", "/diff", None),
                ("POST", "/rollback", {"version": 1}),
                ("PUT", "/labels", {"labels": {"x": 1}}),
                ("POST", "/render", {"variables": ALICE}),
                ("GET", "/stats", None),
                ("GET", "/export", None),
            ):
                answer = await stranger.request(method, f"{PATH}/{ref}{path}", json=body)
                assert (answer.status_code, answer.json()["error"]["code"]) == (404, "template_not_found"), (
                    path
                )
        assert (await ok(await stranger.get(PATH)))["data"] == []
        await ok(await stranger.post(PATH, json={**GREETING, "template": "mine"}), 201)
        assert (await ok(await http.get(f"{PATH}/greeting"))) == made


@pytest.mark.parametrize(
    ("change", "status", "param"),
    [
        ({"template": "{nobody}"}, 422, "nobody"),
        ({"template": "{{ nobody }}", "syntax": "jinja2"}, 422, "nobody"),
        ({"template": "{% nothing %}", "syntax": "jinja2"}, 422, None),
        ({"template": None}, 400, "body"),
        ({"messages": [{"role": "user", "content": "x"}]}, 400, "body"),
        ({"template": None, "messages": []}, 400, "messages"),
        ({"template": None, "messages": [{"role": "tool", "content": "x"}]}, 400, "role"),
        ({"name": "tmpl_x"}, 400, "name"),
        ({"name": "a/b"}, 400, "name"),
        ({"name": ""}, 400, "name"),
        ({"variables": ["a b"]}, 400, "name"),
        ({"variables": [{"name": "a", "type": "integer", "default": "x"}]}, 400, None),
        ({"labels": ["a b"]}, 400, "0"),
        ({"tenant": "other"}, 400, "tenant"),
    ],
)
async def test_malformed_templates(
    tmp_path: Path, change: dict[str, Any], status: int, param: str | None
) -> None:
    async with house(tmp_path) as found, found.client() as http:
        answer = await http.post(PATH, json={**GREETING, **change})
        assert answer.status_code == status, answer.text
        assert param is None or answer.json()["error"]["param"] == param


async def test_malformed_questions(tmp_path: Path) -> None:
    async with house(tmp_path) as found, found.client() as http:
        await http.post(PATH, json=GREETING)
        for method, path, body, status in (
            ("PUT", "/labels", {"labels": {"x": 2}}, 404),
            ("PUT", "/labels", {"labels": {"x": {"1": 0}}}, 400),
            ("PUT", "/labels", {"labels": {"x": {}}}, 400),
            ("PUT", "/labels", {"labels": {}}, 400),
            ("PUT", "/labels", {"labels": {"x": {"one": 1}}}, 400),
            ("POST", "/rollback", {"version": 9}, 404),
            ("POST", "/rollback", {"version": 2**70}, 400),
            ("POST", "/rollback", {}, 400),
            ("GET", "/diff?from=9", None, 404),
            ("GET", "?version=9", None, 404),
            ("GET", "?label=none", None, 404),
            ("GET", "/versions?after=x", None, 400),
            ("PUT", "", {"expected_version": 7, "template": "x"}, 409),
            ("POST", "/render", {"version": 1, "label": "x"}, 400),
            ("POST", "/render", {"variables": {"name": "\ud800", "company": "x"}}, 422),
        ):
            content = None if body is None else json.dumps(body)  # which spells half a character out
            headers = {"content-type": "application/json"}
            answer = await http.request(method, f"{PATH}/greeting{path}", content=content, headers=headers)
            assert answer.status_code == status, (method, path, answer.text)


async def test_odd_paths(tmp_path: Path) -> None:
    async with house(tmp_path) as found, found.client() as http:
        for path in ("a%00", "%F0%9F%98%80", "x" * 200, "tmpl_%00"):
            for method in ("GET", "PUT", "DELETE"):
                answer = await http.request(method, f"{PATH}/{path}", json={"template": "x"})
                assert answer.status_code == 404
