"""JSON schemas of parameters: bounded when they are registered, and when they are applied.

Both come from strangers: a tenant writes the schema, a model the arguments. So neither may make the other's
check run long: references that multiply, patterns that backtrack, lists whose items are compared pairwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from time import monotonic
from typing import Any

import orjson
import regex  # type: ignore[import-untyped]
from jsonschema import Draft202012Validator, FormatChecker, SchemaError, ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend
from referencing import Registry

from sentinella_plugins.tools.models import InvalidTool, ToolFailed

_MOST_STEPS = 5_000
_PATTERNS_S = 0.05
_LONGEST_PATTERN = 512
_MOST_TOLD = 5
_LONGEST_TOLD = 300
_REFUSED = frozenset(
    {
        "$id",
        "$anchor",
        "$dynamicRef",
        "$dynamicAnchor",
        "$recursiveRef",
        "patternProperties",
        "unevaluatedItems",
        "unevaluatedProperties",
    }
)
_LITERAL = frozenset({"const", "enum", "default", "examples"})
_NAMED = frozenset({"properties", "$defs", "definitions", "dependentSchemas", "dependentRequired"})


class _TooLong(Exception):
    pass


class _Effort:
    """What one check may take; there is never more than one at a time in a thread."""

    steps = 0
    patterns_until = 0.0

    def begin(self) -> None:
        self.steps = _MOST_STEPS
        self.patterns_until = monotonic() + _PATTERNS_S

    def step(self) -> None:
        self.steps -= 1
        if self.steps < 0:
            raise _TooLong


_Check = Callable[[Any, Any, Any, Any], Iterator[ValidationError] | None]


class Arguments:
    """Checks the arguments of one tool. Not for several threads at once."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._effort = _Effort()
        checks: dict[str, _Check] = {
            **Draft202012Validator.VALIDATORS,
            "pattern": self._pattern,
            "uniqueItems": _unique,
        }
        bounded = {name: _counted(check, self._effort) for name, check in checks.items()}
        kind = extend(Draft202012Validator, bounded)  # type: ignore[no-untyped-call]
        # With a registry of its own nothing is ever fetched.
        self._validator: Validator = kind(dict(schema), registry=Registry())

    def parse(self, text: str, longest: int) -> dict[str, Any]:
        """Raises `ToolFailed` that tells the model what to do better."""
        if len(text) > longest:
            raise ToolFailed(
                "malformed_arguments", f"The arguments are longer than {longest} characters.", args_error=True
            )
        try:
            value = orjson.loads(text or "{}")
        except orjson.JSONDecodeError as error:
            raise ToolFailed(
                "malformed_arguments", f"The arguments are not valid JSON: {error}.", args_error=True
            ) from None
        if not isinstance(value, dict):
            raise ToolFailed("malformed_arguments", "The arguments must be a JSON object.", args_error=True)
        self.check(value)
        return value

    def check(self, value: dict[str, Any]) -> None:
        self._effort.begin()
        try:
            wrong = [_told(error) for error in islice(self._validator.iter_errors(value), _MOST_TOLD)]
        except (_TooLong, RecursionError):
            raise ToolFailed("schema_too_slow", "This tool's schema takes too long to check.") from None
        if wrong:
            raise ToolFailed(
                "invalid_arguments", "The arguments are wrong. " + " ".join(wrong), args_error=True
            )

    def _pattern(self, _validator: Any, pattern: Any, value: Any, _schema: Any) -> Iterator[ValidationError]:
        if not isinstance(value, str):
            return
        left = self._effort.patterns_until - monotonic()
        try:
            if left <= 0:
                raise _TooLong
            fits = regex.search(pattern, value, timeout=left)
        except TimeoutError:
            raise _TooLong from None
        if fits is None:
            yield ValidationError(f"does not match `{pattern}`")


def check_schema(schema: Mapping[str, Any], *, max_bytes: int, max_depth: int) -> None:
    """Raises `InvalidTool` with the first thing that is wrong with it. Takes milliseconds."""
    if _depth(schema, max_depth) > max_depth:
        raise InvalidTool(f"`parameters` is nested deeper than {max_depth} levels.", param="parameters")
    try:
        size = len(orjson.dumps(schema))
    except (orjson.JSONEncodeError, TypeError, RecursionError):
        raise InvalidTool("`parameters` holds what JSON cannot hold.", param="parameters") from None
    if size > max_bytes:
        raise InvalidTool(f"`parameters` is larger than {max_bytes} bytes.", param="parameters")
    if schema.get("type") != "object":
        raise InvalidTool('`parameters` must be a schema with `"type": "object"`.', param="parameters")
    for keyword, value in _keywords(schema):
        _check_keyword(keyword, value)
    try:
        Draft202012Validator.check_schema(dict(schema), format_checker=FormatChecker(()))
    except SchemaError as error:
        raise InvalidTool(f"`parameters` is not a JSON schema: {_told(error)}", param="parameters") from None
    _check_references(schema)


def _check_keyword(keyword: str, value: object) -> None:
    if keyword in _REFUSED:
        raise InvalidTool(f"`parameters` may not use `{keyword}`.", param="parameters")
    if keyword == "$ref" and not (isinstance(value, str) and value.startswith("#/")):
        raise InvalidTool("`$ref` may only lead to a place in the schema: `#/$defs/...`.", param="parameters")
    if keyword == "pattern":
        _check_pattern(value)


def _check_pattern(pattern: object) -> None:
    try:
        if not isinstance(pattern, str) or len(pattern) > _LONGEST_PATTERN:
            raise InvalidTool(
                f"A `pattern` is text of at most {_LONGEST_PATTERN} characters.", param="parameters"
            )
        regex.compile(pattern)
    except (regex.error, OverflowError, RecursionError):
        raise InvalidTool("A `pattern` is not a regular expression.", param="parameters") from None


def _check_references(schema: Mapping[str, Any]) -> None:
    """Every reference leads to a schema."""
    for keyword, value in _keywords(schema):
        if keyword == "$ref" and not isinstance(_at(schema, str(value)), dict | bool):
            raise InvalidTool("A `$ref` leads nowhere.", param="parameters")


def _at(schema: Any, reference: str) -> object:
    found = schema
    for part in reference.removeprefix("#/").split("/"):
        if not isinstance(found, Mapping):
            return None
        found = found.get(part.replace("~1", "/").replace("~0", "~"))
    return found


def _depth(value: object, most: int) -> int:
    """Level by level, as deep as matters: what comes over the wire may be nested deeper than the stack."""
    level: list[object] = [value]
    depth = 0
    while level and depth <= most:
        level = [inner for outer in level for inner in _inside(outer)]
        depth += 1
    return depth


def _inside(value: object) -> list[object]:
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return [item for item in inner if isinstance(item, Mapping | list)]


def _keywords(schema: object) -> Iterator[tuple[str, object]]:
    """Every keyword of a schema and of those inside it; names of properties are no keywords."""
    if isinstance(schema, list):
        for item in schema:
            yield from _keywords(item)
    elif isinstance(schema, Mapping):
        for name, value in schema.items():
            yield name, value
            if name in _NAMED and isinstance(value, Mapping):
                for inner in value.values():
                    yield from _keywords(inner)
            elif name not in _LITERAL:
                yield from _keywords(value)


def _counted(check: _Check, effort: _Effort) -> _Check:
    def counted(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        effort.step()
        yield from check(validator, value, instance, schema) or ()

    return counted


def _unique(_validator: Any, wanted: Any, value: Any, _schema: Any) -> Iterator[ValidationError]:
    if wanted and isinstance(value, list):
        seen = {orjson.dumps(item, option=orjson.OPT_SORT_KEYS) for item in value}
        if len(seen) < len(value):
            yield ValidationError("has items that are the same")


def _told(error: ValidationError | SchemaError) -> str:
    path = ".".join(str(part) for part in error.absolute_path) or "(all)"
    message = error.message if len(error.message) <= _LONGEST_TOLD else error.message[:_LONGEST_TOLD] + "..."
    return f"`{path}`: {message}."
