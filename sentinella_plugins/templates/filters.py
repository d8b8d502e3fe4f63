"""What expressions may do with values. Every result is about as large as what went in, or is measured before
it is made."""

from __future__ import annotations

import html
import json
import math
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from jinja2.filters import FILTERS as JINJA_FILTERS
from jinja2.runtime import LoopContext, Undefined
from jinja2.tests import TESTS as JINJA_TESTS

from sentinella_plugins.templates.limits import Budget, current
from sentinella_plugins.templates.simple import text_of

_BITS = 4_096  # of whole numbers: larger ones take more than linear time
_OPERATORS: Mapping[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "**": operator.pow,
}


def binary(sign: str, left: Any, right: Any, budget: Budget) -> Any:
    """Arithmetic is for numbers; `+` also joins two texts or two lists."""
    if sign == "+" and isinstance(left, str | list) and isinstance(right, str | list):
        budget.expect(len(left) + len(right))
        return left + right  # type: ignore[operator]
    for number in (left, right):
        if isinstance(number, Undefined):
            return str(number)  # raises with the name
        if not isinstance(number, int | float):
            raise TypeError(f"`{sign}` needs numbers, not a value of the kind `{type(number).__name__}`")
        if isinstance(number, int) and number.bit_length() > _BITS:
            raise OverflowError("a number is too large")
    if (
        sign == "**"
        and isinstance(left, int)
        and isinstance(right, int)
        and left.bit_length() * right > _BITS
    ):
        raise OverflowError("a number is too large")
    return _OPERATORS[sign](left, right)


def written(value: Any) -> str:
    """The text of a value, measured first; one that is not defined raises."""
    if isinstance(value, Undefined):
        return str(value)
    current().keep(value)
    return text_of(value)


def _join(values: Iterable[Any], sep: str = "", attribute: str | None = None) -> str:
    budget, parts, size = current(), [], 0
    for value in values:
        text = written(_attribute(value, attribute))
        size += len(text) + len(sep)
        budget.expect(size)
        parts.append(text)
    return sep.join(parts)


def _attribute(value: Any, name: str | None) -> Any:
    if name is None:
        return value
    for part in name.split("."):
        value = value[part] if isinstance(value, Mapping) else value[int(part)]
    return value


def _replace(text: Any, old: str, new: str, count: int = -1) -> str:
    whole = written(text)
    current().expect(len(whole) + (len(new) - len(old)) * whole.count(old))
    return whole.replace(old, new, count)


def _indent(text: Any, width: int = 4, first: bool = False, blank: bool = False) -> str:
    lines = written(text).split("\n")
    current().expect(sum(map(len, lines)) + width * len(lines))
    space = " " * width
    return "\n".join(
        line if (number == 0 and not first) or not (line or blank) else space + line
        for number, line in enumerate(lines)
    )


def _batch(values: Iterable[Any], size: int) -> list[list[Any]]:
    whole = list(values)
    return [whole[start : start + size] for start in range(0, len(whole), size)]


def _sum(values: Iterable[Any], attribute: str | None = None, start: float = 0) -> Any:
    total: Any = start
    for value in values:
        total = binary("+", total, _number(_attribute(value, attribute)), current())
    return total


def _number(value: Any) -> int | float:
    if not isinstance(value, int | float):
        raise TypeError("`sum` needs numbers")
    return value


def _round(value: float, precision: int = 0, method: str = "common") -> float:
    if abs(precision) > 15 or method not in ("common", "ceil", "floor"):
        raise ValueError("`round` takes a precision up to 15 and the method common, ceil or floor")
    if method == "common":
        return round(value, precision)
    shift = 10.0**precision
    return float(getattr(math, method)(value * shift) / shift)


def _int(value: Any, default: int = 0) -> int:
    try:
        return int(float(value)) if isinstance(value, str) and "." in value else int(value)
    except (TypeError, ValueError, OverflowError):
        return default


def _tojson(value: Any, indent: int | None = None) -> str:
    budget = current()
    budget.keep(value)
    budget.expect((indent or 0) * 1_000)
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _escape(value: Any) -> str:
    return html.escape(written(value))


def _divisible(value: int, by: int) -> bool:
    return bool(binary("%", value, by, current()) == 0)


_AS_IN_JINJA = (
    "abs capitalize count d default dictsort first float groupby items last length list lower map max min "
    "reject rejectattr reverse select selectattr sort title trim truncate unique upper wordcount"
)
FILTERS: Mapping[str, Callable[..., Any]] = {
    **{name: JINJA_FILTERS[name] for name in _AS_IN_JINJA.split()},
    "batch": _batch,
    "e": _escape,
    "escape": _escape,
    "indent": _indent,
    "int": _int,
    "join": _join,
    "replace": _replace,
    "round": _round,
    "string": written,
    "sum": _sum,
    "tojson": _tojson,
}
_TESTS_AS_IN_JINJA = (
    "boolean defined eq == equalto even false float ge >= greaterthan gt > in integer iterable le <= "
    "lessthan lower lt < mapping ne != none number odd sequence string true undefined upper"
)
TESTS: Mapping[str, Callable[..., Any]] = {
    **{name: cast(Callable[..., Any], JINJA_TESTS[name]) for name in _TESTS_AS_IN_JINJA.split()},
    "divisibleby": _divisible,
}
_OF_TEXTS = (
    "capitalize count endswith find isalpha isdigit islower isupper lower lstrip removeprefix removesuffix "
    "rsplit rstrip split splitlines startswith strip title upper"
)
METHODS: Mapping[type, frozenset[str]] = {
    str: frozenset(_OF_TEXTS.split()),
    dict: frozenset(("get", "items", "keys", "values")),
    LoopContext: frozenset(("changed", "cycle")),
}
