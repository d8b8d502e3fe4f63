from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sentinella_plugins.kernel.secrets import Secret
from sentinella_plugins.tools.masking import MASK, masked
from sentinella_plugins.tools.models import InvalidTool, ToolFailed
from sentinella_plugins.tools.request import check_placeholders, outbound
from sentinella_plugins.tools.result import extracted, readable, rendered, shortened
from sentinella_plugins.tools.specs import HttpTool

TEXT = {"type": "string"}


def tool(properties: tuple[str, ...] = ("city", "days"), **fields: Any) -> HttpTool:
    parameters = {"type": "object", "properties": dict.fromkeys(properties, TEXT)}
    made = HttpTool.model_validate(
        {"name": "w", "url": "https://api.example.com/v1/{city}", "parameters": parameters, **fields}
    )
    check_placeholders(made)
    return made


def asked(made: HttpTool, secrets: dict[str, Secret] | None = None, **arguments: Any) -> Any:
    return outbound(made, arguments, secrets or {})


def test_what_has_no_place_goes_into_the_query() -> None:
    request = asked(tool(), city="Sankt Gallen/CH?", days=3)
    assert request.url == "https://api.example.com/v1/Sankt%20Gallen%2FCH%3F?days=3"
    assert (request.method, request.content, request.hosts) == ("GET", None, {"api.example.com"})


def test_or_into_a_body() -> None:
    request = asked(tool(method="POST"), city="x", days=3)
    assert (request.url, request.content) == ("https://api.example.com/v1/x", b'{"days":3}')
    assert request.headers["content-type"] == "application/json"


def test_templates_of_query_and_body() -> None:
    made = tool(
        ("city", "days", "tags", "unit"),
        method="POST",
        query={"q": "{city} weather", "n": "{days}", "tag": "{tags}", "fixed": 1, "none": "{unit}"},
        body={"days": "{days}", "where": {"city": "{city}", "unit": "{unit}"}, "list": ["{tags}", "{unit}"]},
    )
    request = asked(made, city="Rom", days=2, tags=["a", "b"])
    assert parse_qsl(urlsplit(request.url).query) == [
        ("q", "Rom weather"),
        ("n", "2"),
        ("tag", "a"),
        ("tag", "b"),
        ("fixed", "1"),
    ]
    assert orjson.loads(request.content) == {"days": 2, "where": {"city": "Rom"}, "list": [["a", "b"]]}


def test_secrets_are_put_in_and_cannot_be_overridden() -> None:
    made = tool(
        ("city", "key", "days"),
        headers={"Authorization": {"secret": "Bearer s3cret"}, "Accept": "text/csv"},
        query={"key": {"secret": "q-key"}},
    )
    secrets = {"headers.authorization": Secret("Bearer s3cret"), "query.key": Secret("q-key")}
    request = asked(made, secrets, city="x", key="mine", invented="y")
    assert request.headers["authorization"] == "Bearer s3cret" and request.headers["accept"] == "text/csv"
    assert urlsplit(request.url).query == "key=q-key"
    assert "s3cret" not in repr(made) + made.model_dump_json() + repr(request)


@pytest.mark.parametrize("city", [None, "", ".", "..", [], {}])
def test_what_may_not_stand_in_a_path(city: object) -> None:
    with pytest.raises(ToolFailed) as caught:
        asked(tool(), city=city)
    assert caught.value.args_error


@given(st.text(min_size=1, alphabet=st.characters(codec="utf-8")))
def test_no_argument_leaves_its_place(city: str) -> None:
    if city in (".", ".."):
        return
    parts = urlsplit(asked(tool(), city=city).url)
    assert (parts.netloc, parts.query, parts.fragment) == ("api.example.com", "", "")
    assert parts.path.count("/") == 2 and unquote(parts.path.removeprefix("/v1/")) == city


@pytest.mark.parametrize(
    "url",
    [
        "https://{city}.example.com/",
        "https://api.example.com{city}/",
        "{city}",
        "ftp://x/",
        "https://x/{",
        "https://x/{a b}",
        "https://x/#y",
        "https:///x",
        "https://x\\@y/",
    ],
)
def test_urls_that_are_no_templates(url: str) -> None:
    with pytest.raises(ValidationError):
        tool(url=url)


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "a__b"},
        {"name": "a b"},
        {"name": "x" * 65},
        {"headers": {"Host": "x"}},
        {"headers": {"Content-Length": "1"}},
        {"headers": {"a b": "x"}},
        {"headers": {"X": "a\r\nY: b"}},
        {"headers": {"X": {"secret": "abcd\r\nY: b"}}},
        {"headers": {"X": {"secret": "abc"}}},
        {"headers": {"X": {"secret": "über"}}},
        {"headers": {"X": {"hidden": "abcd"}}},
        {"method": "GET", "body": {}},
        {"method": "CONNECT"},
        {"timeout_s": 0},
        {"timeout_s": 10_000},
        {"extract": "no/slash"},
        {"extract": "/~2"},
        {"unknown": 1},
    ],
)
def test_tools_that_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        tool(**fields)


def test_a_placeholder_must_be_a_parameter() -> None:
    for fields in (
        {"url": "https://x.example/{town}"},
        {"query": {"q": ["{town}"]}},
        {"query": {"q": "{town}"}},
    ):
        with pytest.raises((InvalidTool, ValidationError)):
            tool(**fields)


def test_results_as_text() -> None:
    assert readable('{"a": "ü"}'.encode(), "application/json; charset=utf-8") == '{"a": "ü"}'
    assert readable(b"\xfc", "text/plain; charset=ISO-8859-1") == "ü"
    assert readable(b"\xfc", "text/plain") == "�"
    assert readable(b"", "") == ""


@pytest.mark.parametrize(
    ("content", "kind", "code"),
    [
        (b"\x89PNG\r\n\xff", "image/png", "binary_result"),
        (b"a\0b", "text/plain", "binary_result"),
        (b"\xff\xfe\x00", "", "binary_result"),
        (b"{oops", "application/json", "invalid_json"),
        (b'"\\ud800"', "application/problem+json", "invalid_json"),
        (b"[" * 100_000, "application/json", "invalid_json"),
    ],
)
def test_results_that_are_none(content: bytes, kind: str, code: str) -> None:
    with pytest.raises(ToolFailed) as caught:
        readable(content, kind)
    assert caught.value.code == code and len(str(caught.value)) < 500


def test_pointers() -> None:
    text = '{"a": [{"b/c": 1.50, "d~e": "x"}], "n": null}'
    assert extracted(text, "/a/0/b~1c") == "1.5"
    assert extracted(text, "/a/0/d~0e") == "x"
    assert extracted(text, "") == '{"a":[{"b/c":1.5,"d~e":"x"}],"n":null}'
    assert extracted(text, {"x": "/n", "y": "/a/0/d~0e"}) == '{"x":null,"y":"x"}'
    for pointer in ("/b", "/a/1", "/a/-1", "/a/x", "/a/0/b~1c/z", "/a/²"):
        with pytest.raises(ToolFailed):
            extracted(text, pointer)


def test_rendering_never_fails_on_odd_values() -> None:
    assert rendered("\ud800") == "?"
    assert rendered({"a": {1, 2}}).startswith('{"a":')
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(ToolFailed):
        rendered(loop)


@given(st.text(max_size=300), st.integers(min_value=100, max_value=200))
def test_a_shortened_text_fits(text: str, limit: int) -> None:
    short = shortened(text, limit)
    assert len(short.encode()) <= limit
    if len(text.encode("utf-8", "replace")) > limit:
        assert short.endswith("bytes in all]")


@pytest.mark.parametrize(
    "echo",
    [
        "Bearer top-secret/key+1",
        "top-secret/key+1",
        "top-secret%2Fkey%2B1",
        "dG9wLXNlY3JldC9rZXkrMQ==",
        "746f702d7365637265742f6b65792b31",
        '{"got": "Bearer top-secret/key+1"}',
    ],
)
def test_echoes_are_masked(echo: str) -> None:
    said = masked(f"You sent {echo}, twice: {echo}", {"x": Secret("Bearer top-secret/key+1")})
    assert said.count(MASK) == 2 and "top-secret" not in said and "dG9wLXNl" not in said


def test_a_secret_with_quotes() -> None:
    secret = 'a"b\\c<d>'
    said = masked(rendered({"echo": secret}) + " a&quot;b\\c&lt;d&gt;", {"x": Secret(secret)})
    assert said == f'{{"echo":"{MASK}"}} {MASK}'
    assert masked("Bearer of news", {"x": Secret("Bearer abcdefgh")}) == "Bearer of news"
