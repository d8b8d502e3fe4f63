"""A version that is ready to be rendered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from sentinella_plugins.templates.errors import RenderingFailed, TemplateInvalid
from sentinella_plugins.templates.limits import Allowance, Budget
from sentinella_plugins.templates.models import Content
from sentinella_plugins.templates.sandbox import compile_jinja
from sentinella_plugins.templates.simple import compile_simple
from sentinella_plugins.templates.variables import Variable


class Text(Protocol):
    def render(self, values: Mapping[str, object], budget: Budget) -> str: ...


Shape = Text | Mapping[str, Any] | tuple[Any, ...] | object
"""A JSON value whose strings are compiled."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """`text` of a text template, `messages` of a chat template."""

    variables: tuple[Variable, ...]
    text: Text | None
    messages: tuple[tuple[str, str | None, Shape], ...]

    def render(
        self, values: Mapping[str, object], allowed: Allowance
    ) -> tuple[str | None, tuple[dict[str, Any], ...]]:
        """The text, and the messages that a model is asked. Raises `TooMuch` and `RenderingFailed`."""
        budget = allowed.budget()
        if self.text is not None:
            text = _sound(self.text.render(values, budget))
            return text, ({"role": "user", "content": text},)
        return None, tuple(_message(message, values, budget) for message in self.messages)


def compiled(content: Content, *, max_chars: int, max_variables: int) -> Compiled:
    """Takes milliseconds for large templates. `TemplateInvalid` says what is wrong."""
    if sum(map(len, _strings(content))) > max_chars:
        raise TemplateInvalid(f"A template may hold at most {max_chars} characters.", param="template")
    if len(content.variables or ()) > max_variables:
        raise TemplateInvalid(f"A template may have at most {max_variables} variables.", param="variables")
    declared = None if content.variables is None else {variable.name for variable in content.variables}
    compile_text = compile_simple if content.syntax == "simple" else compile_jinja

    def ready(value: Any) -> Shape:
        if isinstance(value, str):
            return compile_text(value, declared)
        if isinstance(value, Mapping):
            return {name: inner if name == "type" else ready(inner) for name, inner in value.items()}
        return tuple(map(ready, value)) if isinstance(value, list | tuple) else value

    return Compiled(
        variables=content.variables or (),
        text=None if content.template is None else compile_text(content.template, declared),
        messages=tuple(
            (message.role, message.name, ready(message.content)) for message in content.messages or ()
        ),
    )


def _strings(content: Content) -> Iterator[str]:
    waiting: list[Any] = [content.template, *(message.content for message in content.messages or ())]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, Mapping):
            waiting += [*value.keys(), *value.values()]
        elif isinstance(value, list | tuple):
            waiting += value


def _message(
    message: tuple[str, str | None, Shape], values: Mapping[str, object], budget: Budget
) -> dict[str, Any]:
    role, name, content = message
    made = {"role": role, "content": _rendered(content, values, budget)}
    return made if name is None else {**made, "name": name}


def _rendered(shape: Shape, values: Mapping[str, object], budget: Budget) -> Any:
    if isinstance(shape, Mapping):
        return {name: _rendered(inner, values, budget) for name, inner in shape.items()}
    if isinstance(shape, tuple):
        return [_rendered(inner, values, budget) for inner in shape]
    return _sound(shape.render(values, budget)) if hasattr(shape, "render") else shape


def _sound(text: str) -> str:
    """JSON can spell half of a character; no provider takes it."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise RenderingFailed("A variable holds text that is not valid Unicode.") from None
    return text
