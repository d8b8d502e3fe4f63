"""What a template wants to be given, and whether it was."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, model_validator

from sentinella_plugins.templates.errors import TooMuch, VariableMissing, VariableType, VariableUnknown

IDENTIFIER = r"[A-Za-z_][A-Za-z0-9_]{0,63}"
Kind = Literal["string", "number", "integer", "boolean", "array", "object"]
Values = Mapping[str, object]
Identifier = Annotated[str, Field(pattern=rf"^{IDENTIFIER}$")]


class Variable(BaseModel):
    """Without a type any JSON value will do. Required unless it has a default or says otherwise; one that is
    left out without a default is null, in text nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Identifier
    type: Kind | None = None
    default: JsonValue = None
    description: Annotated[str, Field(max_length=1_000)] | None = None
    required: bool | None = None

    @property
    def needed(self) -> bool:
        return "default" not in self.model_fields_set if self.required is None else self.required

    @property
    def _has_default(self) -> bool:
        return self.default is not None

    @model_validator(mode="after")
    def _default_fits(self) -> Self:
        if self._has_default and self.required:
            raise ValueError(f"`{self.name}` has a default, so it cannot be required")
        if self._has_default and not fits(self.default, self.type):
            raise ValueError(f"the default of `{self.name}` is not of the type {self.type}")
        return self

    def public(self) -> str | dict[str, Any]:
        """As it may be written: only its name where there is nothing else to say."""
        told = self.model_dump(mode="json", exclude_none=True, exclude={"required"})
        if not self.needed and not self._has_default:
            told["required"] = False
        return self.name if len(told) == 1 else told


def _listed(value: object) -> object:
    """From `["name"]`, `[{"name": ...}]`, `{"name": "string"}` or `{"name": {...}}`."""
    if isinstance(value, Mapping):
        return [{"name": name, **_detail(detail)} for name, detail in value.items()]
    if isinstance(value, list | tuple):
        return [{"name": entry} if isinstance(entry, str) else entry for entry in value]
    return value


def _detail(detail: object) -> dict[str, Any]:
    if isinstance(detail, Mapping):
        return {str(name): value for name, value in detail.items() if name != "name"}
    return {} if detail is None else {"type": detail}


Variables = Annotated[tuple[Variable, ...], BeforeValidator(_listed)]


def checked(declared: Iterable[Variable], given: Values, owner: str) -> dict[str, object]:
    """A value for every variable. Raises `VariableMissing`, `VariableUnknown` or `VariableType`; `param` is
    the variable's name."""
    known = {variable.name: variable for variable in declared}
    for name in given:
        if name not in known:
            listed = ", ".join(f"`{other}`" for other in known) or "none"
            message = f"`{name[:64]}` is not a variable of the template `{owner}`; its variables: {listed}."
            raise VariableUnknown(message, param=name[:64])
    return {name: _value(variable, given, owner) for name, variable in known.items()}


def _value(variable: Variable, given: Values, owner: str) -> object:
    name = variable.name
    value = given.get(name)
    if value is None and not variable.needed:
        return variable.default
    if name not in given:
        raise VariableMissing(f"The template `{owner}` needs the variable `{name}`.", param=name)
    if not fits(value, variable.type):
        message = f"The variable `{name}` of the template `{owner}` must be of the type {variable.type}."
        raise VariableType(message, param=name)
    return value


def fits(value: object, kind: Kind | None) -> bool:
    """Whether a JSON value is of a type; a whole float is an integer, a boolean is not a number."""
    if kind is None:
        return True
    if isinstance(value, bool):
        return kind == "boolean"
    if isinstance(value, float):
        return (kind == "number" and math.isfinite(value)) or (kind == "integer" and value.is_integer())
    kinds: dict[Kind, type | tuple[type, ...]] = {
        "string": str,
        "number": int,
        "integer": int,
        "array": (list, tuple),
        "object": Mapping,
        "boolean": bool,
    }
    return isinstance(value, kinds[kind])


def weight(value: object, most: int) -> int:
    """Characters and elements of a value together. `TooMuch` as soon as they are more than `most`."""
    total = len(value) if isinstance(value, str) else 0
    waiting = [] if isinstance(value, str) else [value]
    if total > most:
        raise _too_heavy(most)
    while waiting:
        value = waiting.pop()
        total += len(value) if isinstance(value, str) else 1
        if isinstance(value, Mapping):
            total += sum(len(key) for key in value if isinstance(key, str))
            waiting += value.values()
        elif isinstance(value, list | tuple | set):
            waiting += value
        if total + len(waiting) > most:
            raise _too_heavy(most)
    return total


def _too_heavy(most: int) -> TooMuch:
    return TooMuch(f"The variables and values of a template may hold at most {most} characters.")
