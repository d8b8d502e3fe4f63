"""The simple syntax: `{name}` is a variable, `{{name}}` the text `{name}`, every other brace is itself.

So JSON needs no escaping. Where no variables are declared at all, nothing in a text is special.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from sentinella_plugins.templates.errors import RenderingFailed, TemplateInvalid
from sentinella_plugins.templates.limits import Budget
from sentinella_plugins.templates.variables import IDENTIFIER

# Possessive, and only from the first brace of a run: a text of braces takes linear time.
_BRACED = re.compile(rf"(?<!\{{)(\{{++)({IDENTIFIER})(\}}++)")


@dataclass(frozen=True, slots=True)
class SimpleText:
    """Texts and names of variables by turns: `texts[0] + names[0] + texts[1] + ...`."""

    texts: tuple[str, ...]
    names: tuple[str, ...]

    def render(self, values: Mapping[str, object], budget: Budget) -> str:
        """A value is put in as it is: braces in it mean nothing."""
        parts = list(self._parts(values))
        budget.write(sum(map(len, parts)))
        return "".join(parts)

    def _parts(self, values: Mapping[str, object]) -> Iterable[str]:
        told = {name: text_of(values[name]) for name in set(self.names)}
        yield self.texts[0]
        for name, text in zip(self.names, self.texts[1:], strict=True):
            yield told[name]
            yield text


def compile_simple(source: str, declared: Collection[str] | None) -> SimpleText:
    """`TemplateInvalid` when it names a variable that is not declared."""
    if declared is None:
        return SimpleText((source,), ())
    texts, names, text, end = [], [], "", 0
    for found in _BRACED.finditer(source):
        before, is_variable, after = _read(found)
        text += source[end : found.start()] + before
        end = found.end()
        if not is_variable:
            text += found[2] + after
            continue
        if found[2] not in declared:
            raise _undeclared(found[2])
        texts.append(text)
        names.append(found[2])
        text = after
    return SimpleText((*texts, text + source[end:]), tuple(names))


def text_of(value: object) -> str:
    """A string is itself, null nothing, all else JSON."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if type(value) is int:
        return str(value)
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        raise RenderingFailed("A variable holds a value that cannot be written as JSON.") from None


def _read(found: re.Match[str]) -> tuple[str, bool, str]:
    """Two braces stand for one, the odd one makes a variable; braces without a partner are text."""
    opened, closed = len(found[1]), len(found[3])
    pairs = min(opened, closed)
    kept = "{" * (opened - pairs + pairs // 2)
    return kept, pairs % 2 == 1, "}" * (pairs // 2 + closed - pairs)


def _undeclared(name: str) -> TemplateInvalid:
    return TemplateInvalid(
        f"The template uses `{name}`, which is not among its `variables`. Declare it, or write "
        f"`{{{{{name}}}}}` for the text `{{{name}}}`.",
        param=name,
    )
