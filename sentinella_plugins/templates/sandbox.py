"""Jinja2 as the second syntax: its expressions, `if`, `for` and `set`, every step of them counted.

What makes text out of sight of the counters (macros, blocks, includes) is not there, and neither is anything
that reaches beyond the variables.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar

from jinja2 import StrictUndefined, Template, pass_context
from jinja2.exceptions import SecurityError, TemplateError
from jinja2.meta import find_undeclared_variables
from jinja2.runtime import Context, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from sentinella_plugins.kernel.errors import SentinellaError
from sentinella_plugins.templates.errors import RenderingFailed, TemplateInvalid
from sentinella_plugins.templates.filters import FILTERS, METHODS, TESTS, binary, written
from sentinella_plugins.templates.grammar import CONCAT, EACH, KEEP, PAUSE, allow, instrument
from sentinella_plugins.templates.limits import BUDGET, Budget, current

_WORDS = 200
T = TypeVar("T")


def _range(*bounds: int) -> range:
    found = range(*bounds)
    current().expect(len(found))
    return found


class Sandbox(ImmutableSandboxedEnvironment):
    """One for the whole process; whatever runs in it draws on the budget of the rendering around it."""

    intercepted_binops = frozenset(("+", "-", "*", "/", "//", "%", "**"))

    def __init__(self) -> None:
        super().__init__(undefined=StrictUndefined, finalize=_told, optimized=False, cache_size=0)
        self.globals = {"range": _range}
        own = {CONCAT: _concat, EACH: _each, KEEP: _keep, PAUSE: _pause}
        self.filters = {**{name: _counted(made) for name, made in FILTERS.items()}, **own}
        self.tests = {name: _counted(made) for name, made in TESTS.items()}

    def is_safe_callable(self, obj: Any) -> bool:
        owner = getattr(obj, "__self__", None)
        kind = str if isinstance(owner, str) else type(owner)
        return obj is _range or getattr(obj, "__name__", "") in METHODS.get(kind, ())

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        if not __self.is_safe_callable(__obj):
            raise SecurityError("only `range` and simple methods of texts and objects can be called")
        result = super().call(__context, __obj, *args, **kwargs)
        current().keep(result)
        return result

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        budget = current()
        result = binary(operator, left, right, budget)
        budget.keep(result)
        return result


@dataclass(frozen=True, slots=True)
class JinjaText:
    template: Template

    def render(self, values: Mapping[str, object], budget: Budget) -> str:
        """Values are data: nothing in them is ever read as a template."""
        token = BUDGET.set(budget)
        try:
            return "".join(self._pieces(values, budget))
        except SentinellaError:
            raise
        except Exception as error:
            told = " ".join(str(error).split())[:_WORDS]
            message = f"The template cannot be rendered with these variables: {type(error).__name__}: {told}"
            raise RenderingFailed(message) from None
        finally:
            BUDGET.reset(token)

    def _pieces(self, values: Mapping[str, object], budget: Budget) -> Iterator[str]:
        for piece in self.template.root_render_func(self.template.new_context(dict(values))):
            budget.write(len(piece))
            yield piece


def compile_jinja(source: str, declared: Collection[str] | None) -> JinjaText:
    """`TemplateInvalid` for what is not in the language here, or names a variable that is not declared."""
    try:
        tree = _SANDBOX.parse(source)
        allow(tree, _SANDBOX)
        for name in sorted(find_undeclared_variables(tree) - {"range"}):
            if name not in (declared or ()):
                message = f"The template uses `{name}`, which is not among its `variables`."
                raise TemplateInvalid(message, param=name)
        return JinjaText(_SANDBOX.from_string(instrument(tree)))
    except (TemplateError, RecursionError, MemoryError, SyntaxError, ValueError) as error:
        told = " ".join(str(error).split())[:_WORDS] or type(error).__name__
        line = getattr(error, "lineno", None)
        where = f" (line {line})" if line else ""
        raise TemplateInvalid(f"The template is not valid Jinja2{where}: {told}") from None


@pass_context
def _told(_context: Context, value: object) -> object:
    """What an expression writes. It needs a rendering, so nothing is worked out while compiling."""
    current().breathe()
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, int | float | list | tuple | Mapping | Undefined):
        return written(value)
    raise SecurityError(f"a value of the kind `{type(value).__name__}` cannot be written")


def _counted(made: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(made)
    def counted(*args: Any, **kwargs: Any) -> Any:
        budget = current()
        budget.breathe()
        result = made(*args, **kwargs)
        budget.keep(result)
        return result

    return counted


def _concat(parts: list[Any]) -> str:
    texts = [written(part) for part in parts]
    current().expect(sum(map(len, texts)))
    return _keep("".join(texts))


def _each(values: Any) -> Iterator[Any]:
    budget = current()
    for value in values:
        budget.turn()
        yield value


def _keep(value: T) -> T:
    current().keep(value)
    return value


def _pause(value: Any) -> Any:
    current().breathe()
    return value


_SANDBOX = Sandbox()
