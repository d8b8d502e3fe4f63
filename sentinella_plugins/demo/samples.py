"""Sample values that validate against a JSON schema."""

from __future__ import annotations

import re
from typing import Any

from .exchange import Json, fields

FORMATS = {
    "date": "2026-01-31",
    "date-time": "2026-01-31T09:30:00Z",
    "time": "09:30:00Z",
    "email": "ada@example.com",
    "uri": "https://example.com/",
    "url": "https://example.com/",
    "uuid": "3f2b8c1e-5d4a-4b6f-9e7d-1a2b3c4d5e6f",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "hostname": "example.com",
    "duration": "PT1H",
}
PATTERNS = (
    *("sample", "Sample", "SAMPLE", "A", "a", "AB", "ABC", "1", "12", "123", "1234", "12345"),
    *("2026-01-31", "09:30", "A-1", "ABC-123", "+15550100", "#aabbcc", "1.0.0"),
)
DEPTH = 6


def sample(schema: Json, name: str = "value") -> Any:
    """A value for `schema`; `name` colours the strings in it."""
    return _Sampler(schema).value(schema, name, 0)


class _Sampler:
    def __init__(self, root: Json) -> None:
        self._root = root

    def value(self, schema: Json, name: str, depth: int) -> Any:
        schema = self._resolve(schema)
        for key in ("const", "default"):
            if key in schema:
                return schema[key]
        if schema.get("enum"):
            return schema["enum"][0]
        make = getattr(self, f"_{self._kind(schema)}")
        return make(schema, name, depth)

    def _resolve(self, schema: Json) -> Json:
        for _ in range(DEPTH):
            if isinstance(schema.get("$ref"), str):
                schema = self._lookup(schema["$ref"]) | {k: v for k, v in schema.items() if k != "$ref"}
            elif options := schema.get("anyOf") or schema.get("oneOf"):
                rest = {k: v for k, v in schema.items() if k not in ("anyOf", "oneOf")}
                schema = rest | next((o for o in options if o.get("type") != "null"), options[0])
            elif schema.get("allOf"):
                schema = _merged(schema, [self._resolve(part) for part in schema["allOf"]])
            else:
                return schema
        return schema

    def _lookup(self, ref: str) -> Json:
        found: Any = self._root
        for step in ref.removeprefix("#").strip("/").split("/"):
            found = fields(found).get(step.replace("~1", "/").replace("~0", "~"), {}) if step else found
        return fields(found)

    def _kind(self, schema: Json) -> str:
        kind = schema.get("type")
        if isinstance(kind, list):
            kind = next((k for k in kind if k != "null"), "null")
        kind = str(kind or _guess(schema)).lower()
        return kind if hasattr(self, f"_{kind}") else "string"

    def _object(self, schema: Json, name: str, depth: int) -> Json:
        properties = fields(schema.get("properties"))
        required = schema.get("required") or []
        wanted = properties if depth < 2 else {k: v for k, v in properties.items() if k in required}
        if depth >= DEPTH:
            return {}
        value = {key: self.value(fields(sub), key, depth + 1) for key, sub in wanted.items()}
        return value | {key: f"sample {key}" for key in required if key not in value}

    def _array(self, schema: Json, name: str, depth: int) -> list[Any]:
        least = int(schema.get("minItems", 1))
        if depth >= DEPTH or schema.get("maxItems") == 0:
            return []
        if prefix := schema.get("prefixItems"):
            return [self.value(fields(sub), name, depth + 1) for sub in prefix]
        values = [self.value(fields(schema.get("items")), name, depth + 1) for _ in range(max(least, 1))]
        return [_varied(v, i) for i, v in enumerate(values)] if schema.get("uniqueItems") else values

    def _string(self, schema: Json, name: str, depth: int) -> str:
        if text := FORMATS.get(str(schema.get("format"))):
            return text
        if pattern := schema.get("pattern"):
            return _matching(pattern)
        text = f"sample {name}".ljust(int(schema.get("minLength", 0)), ".")
        return text[: int(schema["maxLength"])] if "maxLength" in schema else text

    def _integer(self, schema: Json, name: str, depth: int) -> int:
        return int(_number(schema, 1))

    def _number(self, schema: Json, name: str, depth: int) -> float:
        return _number(schema, 1.5)

    def _boolean(self, schema: Json, name: str, depth: int) -> bool:
        return True

    def _null(self, schema: Json, name: str, depth: int) -> None:
        return None


def _merged(schema: Json, parts: list[Json]) -> Json:
    merged = {k: v for k, v in schema.items() if k != "allOf"}
    for part in parts:
        properties = fields(merged.get("properties")) | fields(part.get("properties"))
        required = [*merged.get("required", []), *part.get("required", [])]
        merged |= part | {"properties": properties, "required": required}
    return merged


def _guess(schema: Json) -> str:
    if "properties" in schema:
        return "object"
    return "array" if "items" in schema else "string"


def _number(schema: Json, value: float) -> float:
    step = schema.get("multipleOf") or (1 if value == 1 else 0.5)
    for key, edge in (("minimum", 0), ("exclusiveMinimum", step)):
        if key in schema:
            value = max(value, schema[key] + edge)
    for key, edge in (("maximum", 0), ("exclusiveMaximum", step)):
        if key in schema:
            value = min(value, schema[key] - edge)
    if "multipleOf" in schema:
        value = -(-value // step) * step
    return value


def _matching(pattern: str) -> str:
    return next((text for text in PATTERNS if re.search(pattern, text)), "sample")


def _varied(value: Any, index: int) -> Any:
    if isinstance(value, str):
        return f"{value} {index + 1}"
    return value + index if isinstance(value, int | float) and not isinstance(value, bool) else value
