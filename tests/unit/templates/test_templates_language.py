"""What templates say, and what they cannot be made to do."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinella_plugins.kernel.errors import SentinellaError
from sentinella_plugins.templates.choice import chosen
from sentinella_plugins.templates.compiled import compiled
from sentinella_plugins.templates.differences import changes, unified
from sentinella_plugins.templates.errors import (
    RenderingFailed,
    TemplateInvalid,
    TooMuch,
    VariableMissing,
    VariableType,
    VariableUnknown,
)
from sentinella_plugins.templates.files import dump, parse
from sentinella_plugins.templates.limits import Allowance
from sentinella_plugins.templates.models import Content
from sentinella_plugins.templates.variables import checked

ALLOWED = Allowance(chars=100_000, loops=1_000, seconds=5.0)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
BRACES = st.text("{}ab %#\"':1\n", max_size=60)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


def render(source: str, variables: Any = None, syntax: str = "simple", **values: object) -> str:
    content = Content.model_validate({"template": source, "variables": variables, "syntax": syntax})
    ready = compiled(content, max_chars=100_000, max_variables=100)
    text, messages = ready.render(checked(ready.variables, values, "t"), ALLOWED)
    assert text is not None and messages == ({"role": "user", "content": text},)
    return text


def jinja(source: str, **values: object) -> str:
    return render(source, list(values), "jinja2", **values)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{a}", "V"),
        ("{{a}}", "{a}"),
        ("{{{a}}}", "{V}"),
        ("{{{{a}}}}", "{{a}}"),
        ('{"k": {a}}', '{"k": V}'),
        ('{"k":{"l":{a}}}', '{"k":{"l":V}}'),
        ("{a", "{a"),
        ("a}", "a}"),
        ("{ a }", "{ a }"),
        ("{}", "{}"),
        ('{"a": {"b": [1]}}', '{"a": {"b": [1]}}'),
        ("{a}{a}", "VV"),
        ("${a} {1} {a.b} {a!r}", "$V {1} {a.b} {a!r}"),
    ],
)
def test_braces(source: str, text: str) -> None:
    assert render(source, ["a"], a="V") == text


def test_an_undeclared_name_is_named() -> None:
    with pytest.raises(TemplateInvalid, match="`b`") as caught:
        render("{a} {b}", ["a"], a=1)
    assert caught.value.param == "b"


@given(BRACES | TEXT)
def test_without_variables_a_text_is_itself(source: str) -> None:
    assert render(source) == source


@given(before=BRACES.filter(lambda text: not text.endswith("{")), value=BRACES | TEXT)
def test_a_value_is_never_read(before: str, value: str) -> None:
    """Neither by the simple syntax nor by Jinja2."""
    values = {"a": value, "b": "{a}"}
    assert render("<{a}|{b}>", ["a", "b"], **values) == f"<{value}|{{a}}>"
    assert jinja("<{{ a }}|{{ b }}{% if a %}{% endif %}>", **values) == f"<{value}|{{a}}>"
    assert jinja("{% for x in [a, b] %}{{ x }}{% endfor %}", **values) == f"{value}{{a}}"


@given(value=st.sampled_from(["{{ b }}", "{% raw %}", "{#", "{b}", "{{{{b}}}}", "\\{b}", "%(b)s", "$b"]))
def test_injected_templates_stay_text(value: str) -> None:
    assert render("{a}", ["a", "b"], a=value, b="secret") == value
    assert jinja("{{ a }}{{ a ~ '' }}{{ [a]|join }}{{ a|string }}", a=value, b="secret") == value * 4


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (3, "3"),
        (1.5, "1.5"),
        ([1, "ä"], '[1, "ä"]'),
        ({"a": None}, '{"a": null}'),
    ],
)
def test_what_is_no_text_is_json(value: object, text: str) -> None:
    optional = [{"name": "a", "required": False}] if value is None else ["a"]
    expected = "" if value is None else text
    assert render("{a}", optional, a=value) == expected
    assert render("{{ a }}", optional, "jinja2", a=value) == expected


def test_every_text_of_a_chat_is_filled() -> None:
    parts = [{"type": "text", "text": "See {a}"}, {"type": "image_url", "image_url": {"url": "{a}", "n": 1}}]
    chat = [{"role": "system", "content": "Be {a}.", "name": "x"}, {"role": "user", "content": parts}]
    ready = compiled(
        Content.model_validate({"messages": chat, "variables": ["a"]}), max_chars=100, max_variables=1
    )
    text, messages = ready.render({"a": "V{a}"}, ALLOWED)
    assert text is None
    assert messages == (
        {"role": "system", "content": "Be V{a}.", "name": "x"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "See V{a}"},
                {"type": "image_url", "image_url": {"url": "V{a}", "n": 1}},
            ],
        },
    )


def test_variables() -> None:
    declared = [
        {"name": "n", "type": "integer", "default": 3},
        {"name": "s", "type": "string"},
        {"name": "o", "type": "array", "required": False},
    ]
    assert render("{n}{s}{o}", declared, s="x") == "3x"
    assert render("{n}{s}{o}", declared, s="x", n=4, o=[1]) == "4x[1]"
    assert render("{n}{s}{o}", declared, s="x", n=None, o=None) == "3x"
    mapping = {"n": {"type": "integer", "default": 3}, "s": "string", "o": {"required": False}}
    assert render("{n}{s}{o}", mapping, s="x") == "3x"


@pytest.mark.parametrize(
    ("values", "error", "param"),
    [
        ({}, VariableMissing, "s"),
        ({"s": None}, VariableType, "s"),
        ({"s": 1}, VariableType, "s"),
        ({"s": "x", "n": "3"}, VariableType, "n"),
        ({"s": "x", "n": True}, VariableType, "n"),
        ({"s": "x", "n": 1.5}, VariableType, "n"),
        ({"s": "x", "extra": 1}, VariableUnknown, "extra"),
    ],
)
def test_wrong_variables_are_named(values: dict[str, Any], error: type[SentinellaError], param: str) -> None:
    declared = [{"name": "s", "type": "string"}, {"name": "n", "type": "integer", "default": 3}]
    with pytest.raises(error, match=f"`{param}`") as caught:
        render("{s}{n}", declared, **values)
    assert (caught.value.param, caught.value.status) == (param, 422)


@pytest.mark.parametrize(
    "wrong",
    [
        [{"name": "n", "type": "integer", "default": "x"}],
        [{"name": "n", "default": 1, "required": True}],
        ["n", "n"],
        ["not a name"],
        [{"name": "n", "type": "date"}],
        "n",
    ],
)
def test_wrong_declarations(wrong: object) -> None:
    with pytest.raises(ValueError):
        Content.model_validate({"template": "{n}", "variables": wrong})


def test_jinja2() -> None:
    source = (
        "{% for d in docs if d.year > 2000 %}{{ loop.index }}. {{ d.title|upper }}"
        "{{ '' if loop.last else '; ' }}{% else %}none{% endfor %}"
    )
    docs = [{"title": "a", "year": 1999}, {"title": "b", "year": 2001}, {"title": "c", "year": 2002}]
    assert jinja(source, docs=docs) == "1. B; 2. C"
    assert jinja(source, docs=[]) == "none"
    more = (
        "{% set n = [1, 2]|sum %}{{ n * 2 + 1 }} {{ 'a-b'.split('-')|join('+') }} "
        "{{ o|tojson }} {{ o.items()|list }}"
    )
    assert jinja(more, o={"k": "<ä>"}) == '7 a+b {"k": "<ä>"} [["k", "<ä>"]]'
    assert jinja("{{ a|replace('x', 'yy') }}|{{ a|indent(2) }}|{{ a[:1] }}", a="x\nx") == "yy\nyy|x\n  x|x"
    assert (
        jinja("{{ 2.26|round(1) }} {{ '7'|int + 1 }} {{ [3, 1]|sort }} {{ 4 is divisibleby 2 }}")
        == "2.3 8 [1, 3] true"
    )


@pytest.mark.parametrize(
    "source",
    [
        "{% include 'x' %}",
        "{% import 'x' as x %}",
        "{% macro m() %}{% endmacro %}",
        "{% block b %}{% endblock %}",
        "{% set x %}{% endset %}",
        "{% filter upper %}{% endfilter %}",
        "{% for x in [1] recursive %}{% endfor %}",
        "{{ a|attr('b') }}",
        "{{ a|center(9) }}",
        "{{ a|_keep }}",
        "{{ a is sameas 1 }}",
        "{{ cycler }}",
        "{{ undeclared }}",
        "{{ 1 if",
        "{{" * 3_000,
        "{{" + "(" * 2_000 + "1" + ")" * 2_000 + "}}",
        "{{ 1 }}" * 6_000,
    ],
)
def test_what_jinja2_is_not_here(source: str) -> None:
    with pytest.raises(TemplateInvalid):
        jinja(source, a=1)


@pytest.mark.parametrize(
    "source",
    [
        "{{ a.__class__ }}",
        "{{ a.__init__.__globals__ }}",
        "{{ a['__class__'] }}",
        "{{ a.format(1) }}",
        "{{ 'x'.ljust(1000000000) }}",
        "{% set range = 'x'.ljust %}{{ range(1000000000) }}",
        "{{ [a]|map(attribute='__class__')|list }}",
        "{{ 'a' * 1000000000 }}",
        "{{ [1] * 1000000000 }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ 9 ** 999999999 }}",
        "{{ range }}",
        "{{ a.missing }}",
        "{{ a.missing ~ 1 }}",
        "{{ a.missing + 1 }}",
        "{{ 1 / 0 }}",
        "{{ 1 + 'a' }}",
    ],
)
def test_what_a_rendering_may_not(source: str) -> None:
    with pytest.raises(RenderingFailed) as caught:
        jinja(source, a="x")
    assert " at 0x" not in str(caught.value)


BOMBS = {
    "nested loops": "{% for i in range(900) %}{% for j in range(900) %}x{% endfor %}{% endfor %}",
    "doubling text": "{% set a = 'aaaaaaaaaa' %}" + "{% set a = a ~ a ~ a ~ a %}" * 40 + "{{ a|length }}",
    "adding text": "{% set a = 'aaaaaaaaaa' %}" + "{% set a = a + a %}" * 40 + "{{ a|length }}",
    "nested lists": "{% set a = [1] %}" + "{% set a = [a, a, a, a] %}" * 40 + "{{ a }}",
    "compared lists": "".join(f"{{% set {x} = [1] %}}" + f"{{% set {x} = [{x}, {x}] %}}" * 60 for x in "ab")
    + "{{ a == b }}",
    "nested objects": "{% set a = {} %}" + "{% set a = {'a': a, 'b': a} %}" * 60 + "{{ a|tojson }}",
    "long range": "{{ range(1000000000)|list|length }}",
    "replacing": "{% set a = 'a'|replace('', big) %}{{ a|replace('', a) }}",
    "joining": "{{ range(900)|join(big) }}",
    "indenting": "{{ big|replace('x', '\n')|indent(50000) }}",
    "static text": "{% for i in range(900) %}" + "static text " * 100 + "{% endfor %}",
    "many steps": "{% for i in range(900) %}{% set a = big|upper|lower|title|trim %}{% endfor %}",
    "printing": "{{ big }}" * 200,
}


@pytest.mark.parametrize("source", BOMBS.values(), ids=BOMBS.keys())
def test_bombs_do_not_go_off(source: str) -> None:
    started = time.perf_counter()
    with pytest.raises(TooMuch):
        jinja(source, big="x" * 5_000)
    assert time.perf_counter() - started < 4


def test_a_rendering_has_a_deadline() -> None:
    ready = compiled(
        Content(template="{% for i in range(999) %}{{ i }}{% endfor %}", syntax="jinja2"),
        max_chars=1_000,
        max_variables=0,
    )
    with pytest.raises(TooMuch, match="longer"):
        ready.render({}, Allowance(chars=100_000, loops=1_000, seconds=0.0))


def test_a_simple_text_is_bounded_before_it_is_made() -> None:
    with pytest.raises(TooMuch):
        render("{a}" * 10_000, ["a"], a="x" * 50_000)


@pytest.mark.parametrize("syntax", ["simple", "jinja2"])
def test_half_a_character_is_refused(syntax: str) -> None:
    with pytest.raises(RenderingFailed):
        render("{{{a}}}" if syntax == "simple" else "{{ a }}", ["a"], syntax, a="\ud800")


def test_a_text_of_braces_takes_no_time() -> None:
    started = time.perf_counter()
    assert len(render("{" * 50_000 + "}" * 50_000, [])) == 100_000
    assert time.perf_counter() - started < 1


@settings(deadline=None)
@given(
    template=TEXT,
    values=st.lists(
        st.tuples(st.from_regex(r"[a-z]{1,8}", fullmatch=True), JSON), max_size=4, unique_by=lambda v: v[0]
    ),
)
def test_yaml_says_the_same(template: str, values: list[tuple[str, Any]]) -> None:
    variables = [{"name": name, "default": value} for name, value in values]
    content = Content.model_validate(
        {"messages": [{"role": "user", "content": template}], "variables": variables}
    )
    _, again = parse(dump(content, "t"), "stem", "acme")
    assert again.content().model_dump() == content.model_dump()
    stored = Content.model_validate_json(content.model_dump_json(exclude_none=True))
    assert stored.model_dump() == content.model_dump()


def test_nulls_in_parts_are_kept() -> None:
    part = {"type": "text", "text": "a", "cache_control": None}
    content = Content.model_validate({"messages": [{"role": "user", "content": [part]}]})
    stored = Content.model_validate_json(content.model_dump_json(exclude_none=True))
    assert stored.model_dump() == content.model_dump()


def test_differences() -> None:
    old = Content.model_validate({"template": "Hello\n{a}\n", "variables": ["a"]})
    new = Content.model_validate({"template": "Hello\n{a}!\n", "variables": ["a"], "description": "x"})
    text = unified("t", (1, old), (2, new))
    assert "-  {a}" in text.splitlines() and "+  {a}!" in text.splitlines()
    assert {change["field"] for change in changes(old, new)} == {"template", "description"}
    assert unified("t", (1, old), (1, old)) == ""


def test_enormous_differences_are_told_whole() -> None:
    old = Content(template="\n".join(str(n) for n in range(20_000)))
    new = Content(template="\n".join(str(n) for n in reversed(range(20_000))))
    started = time.perf_counter()
    assert len(unified("t", (1, old), (2, new)).splitlines()) > 40_000
    assert time.perf_counter() - started < 10


def test_labels_choose_by_weight_and_always_the_same() -> None:
    weights = {3: 90.0, 4: 10.0}
    found = [chosen(weights, f"session-{number}") for number in range(5_000)]
    assert found == [chosen(weights, f"session-{number}") for number in range(5_000)]
    assert 0.08 < found.count(4) / len(found) < 0.12
    assert chosen({7: 0.5}, "x") == 7
