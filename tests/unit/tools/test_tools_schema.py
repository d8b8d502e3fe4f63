from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinella_plugins.tools.models import InvalidTool, ToolFailed
from sentinella_plugins.tools.schema import Arguments, check_schema

CITY = {
    "type": "object",
    "properties": {"city": {"type": "string", "minLength": 2}, "days": {"type": "integer", "maximum": 7}},
    "required": ["city"],
    "additionalProperties": False,
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)
_KEYWORDS = st.sampled_from(
    "type properties required items anyOf $ref $defs pattern enum const minimum allOf not if $id".split()  # noqa: SIM905
)
SCHEMAS = st.recursive(JSON, lambda inner: st.dictionaries(_KEYWORDS, inner, max_size=4), max_leaves=20)


def checked(schema: dict[str, Any]) -> None:
    check_schema(schema, max_bytes=10_000, max_depth=16)


def wrong(schema: dict[str, Any], arguments: str) -> ToolFailed:
    checked(schema)
    with pytest.raises(ToolFailed) as caught:
        Arguments(schema).parse(arguments, 10_000)
    return caught.value


def test_right_arguments() -> None:
    checked(CITY)
    assert Arguments(CITY).parse('{"city": "Köln", "days": 3}', 1_000) == {"city": "Köln", "days": 3}
    assert Arguments({"type": "object"}).parse("", 1_000) == {}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("{}", "'city' is a required property"),
        ('{"city": 5}', "`city`: 5 is not of type 'string'"),
        ('{"city": "x"}', "`city`: 'x' is too short"),
        ('{"city": "xy", "days": 8}', "`days`: 8 is greater than the maximum of 7"),
        ('{"city": "xy", "z": 1}', "'z' was unexpected"),
        ('{"city": ', "not valid JSON"),
        ("[]", "must be a JSON object"),
        ("NaN", "not valid JSON"),
        ('"\\ud800"', "not valid JSON"),
        ("[" * 5_000, "not valid JSON"),
        (" " * 10_001, "longer than 10000"),
    ],
)
def test_the_model_is_told_what_is_wrong(arguments: str, told: str) -> None:
    failed = wrong(CITY, arguments)
    assert told in str(failed) and failed.args_error


def test_what_is_told_is_short() -> None:
    assert len(str(wrong(CITY, '{"city": "xy", "days": "' + "y" * 9_000 + '"}'))) < 500


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object"}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"x": schema}}
    return schema


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "string"},
        {"type": "object", "properties": {"x": {"type": "strin"}}},
        {"type": "object", "properties": []},
        {"type": "object", "required": "city"},
        {"type": "object", "$ref": "https://evil.example/schema.json"},
        {"type": "object", "properties": {"x": {"$ref": "file:///etc/passwd"}}},
        {"type": "object", "properties": {"x": {"$ref": "#"}}},
        {"type": "object", "properties": {"x": {"$ref": "#/$defs/none"}}},
        {"type": "object", "properties": {"x": {"$ref": 5}}},
        {"type": "object", "$id": "https://evil.example/"},
        {"type": "object", "$dynamicRef": "#x"},
        {"type": "object", "patternProperties": {"(a+)+$": {}}},
        {"type": "object", "unevaluatedProperties": False},
        {"type": "object", "properties": {"x": {"pattern": "("}}},
        {"type": "object", "properties": {"x": {"pattern": "a" * 600}}},
        {"type": "object", "properties": {"x": {"enum": ["y" * 20_000]}}},
        nested(20),
        nested(5_000),
    ],
)
def test_schemas_that_are_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(InvalidTool):
        checked(schema)


def test_names_of_properties_are_no_keywords() -> None:
    schema = {
        "type": "object",
        "properties": {
            "$id": {"type": "string"},
            "$ref": {"const": {"$id": 1}},
            "pattern": {"type": "integer"},
        },
    }
    checked(schema)
    assert Arguments(schema).parse('{"pattern": 1}', 100) == {"pattern": 1}


def laughs(levels: int) -> dict[str, Any]:
    """Every definition asks for the next one twice."""
    ref = "#/$defs/d{}"
    defs: dict[str, Any] = {
        f"d{n}": {"allOf": [{"$ref": ref.format(n + 1)}, {"$ref": ref.format(n + 1)}]} for n in range(levels)
    }
    defs[f"d{levels}"] = {"type": "string"}
    return {"type": "object", "$defs": defs, "properties": {"x": {"$ref": ref.format(0)}}}


ENDLESS = {
    "type": "object",
    "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}},
    "properties": {"x": {"$ref": "#/$defs/a"}},
}
PATTERN = {"type": "object", "properties": {"x": {"type": "string", "pattern": "^(a+)+$"}}}
PATTERNS = {"type": "object", "properties": {"x": {"items": {"pattern": "^(a+)+$"}}}}
UNIQUE = {"type": "object", "properties": {"x": {"uniqueItems": True}}}


@pytest.mark.parametrize(
    ("schema", "arguments"),
    [
        (laughs(40), '{"x": "y"}'),
        (ENDLESS, '{"x": 1}'),
        (PATTERN, '{"x": "' + "a" * 5_000 + '!"}'),
        (PATTERNS, '{"x": [' + ",".join(["1"] * 100_000) + "]}"),
    ],
)
def test_bombs_go_off_nowhere(schema: dict[str, Any], arguments: str) -> None:
    checked(schema)
    check = Arguments(schema)
    started = time.perf_counter()
    with pytest.raises(ToolFailed) as caught:
        check.parse(arguments, 10**6)
    assert caught.value.code == "schema_too_slow" and not caught.value.args_error
    assert time.perf_counter() - started < 1


def test_many_different_items() -> None:
    check = Arguments(UNIQUE)
    items = ",".join(f'{{"a": {n}}}' for n in range(5_000))
    assert len(check.parse(f'{{"x": [{items}]}}', 10**6)["x"]) == 5_000
    with pytest.raises(ToolFailed, match="the same"):
        check.parse(f'{{"x": [{items}, {{"a": 1}}]}}', 10**6)


@given(SCHEMAS, JSON)
def test_no_schema_and_no_arguments_break_anything(schema: Any, value: Any) -> None:
    try:
        checked({"type": "object", **schema} if isinstance(schema, dict) else {"type": "object", "x": schema})
    except InvalidTool:
        return
    try:
        Arguments({"type": "object", **schema} if isinstance(schema, dict) else {}).check({"x": value})
    except ToolFailed as failed:
        assert str(failed)
