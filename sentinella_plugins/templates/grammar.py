"""Which of Jinja2's language there is, and where the counters are put into it."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, nodes
from jinja2.visitor import NodeTransformer

from sentinella_plugins.templates.errors import TemplateInvalid

CONCAT, EACH, KEEP, PAUSE = "_concat", "_each", "_keep", "_pause"
_MOST_NODES = 5_000
_ALLOWED = (
    nodes.Template,
    nodes.Output,
    nodes.TemplateData,
    nodes.If,
    nodes.For,
    nodes.Assign,
    nodes.With,
    nodes.Name,
    nodes.Const,
    nodes.Tuple,
    nodes.List,
    nodes.Dict,
    nodes.Pair,
    nodes.Keyword,
    nodes.Getattr,
    nodes.Getitem,
    nodes.Slice,
    nodes.Filter,
    nodes.Test,
    nodes.Call,
    nodes.Compare,
    nodes.Operand,
    nodes.Concat,
    nodes.CondExpr,
    nodes.BinExpr,
    nodes.UnaryExpr,
)


def allow(tree: nodes.Template, environment: Environment) -> None:
    """`TemplateInvalid` for the first thing that is not in the language here."""
    waiting: list[nodes.Node] = [tree]
    seen = 0
    while waiting:
        node = waiting.pop()
        seen += 1
        reason = "it is too long" if seen > _MOST_NODES else _refused(node, environment)
        if reason:
            raise TemplateInvalid(f"The template cannot be used (line {node.lineno}): {reason}.")
        waiting += node.iter_child_nodes()


def instrument(tree: nodes.Template) -> nodes.Template:
    """The same template with every loop, text, list and comparison under the eyes of the budget."""
    counted = _Counters().visit(tree)
    assert isinstance(counted, nodes.Template)  # noqa: S101
    return counted


def _refused(node: nodes.Node, environment: Environment) -> str | None:
    if not isinstance(node, _ALLOWED):
        return f"`{type(node).__name__.lower()}` is not available"
    if isinstance(node, nodes.For) and node.recursive:
        return "recursive loops are not available"
    if isinstance(node, nodes.Filter) and (node.name not in environment.filters or node.name[0] == "_"):
        return f"there is no filter `{node.name}`"
    if isinstance(node, nodes.Test) and node.name not in environment.tests:
        return f"there is no test `{node.name}`"
    return None


class _Counters(NodeTransformer):
    def visit_Concat(self, node: nodes.Concat, *_: Any) -> nodes.Node:
        self.generic_visit(node)
        return _filtered(nodes.List(list(node.nodes), lineno=node.lineno), CONCAT)

    def visit_For(self, node: nodes.For, *_: Any) -> nodes.Node:
        self.generic_visit(node)
        node.iter = _filtered(node.iter, EACH)
        return node

    def visit_Compare(self, node: nodes.Compare, *_: Any) -> nodes.Node:
        self.generic_visit(node)
        node.expr = _filtered(node.expr, PAUSE)
        return node

    def visit_Getitem(self, node: nodes.Getitem, *_: Any) -> nodes.Node:
        self.generic_visit(node)
        return _filtered(node, KEEP) if isinstance(node.arg, nodes.Slice) else node

    def visit_List(self, node: nodes.List, *_: Any) -> nodes.Node:
        return _filtered(self.generic_visit(node), KEEP)

    def visit_Dict(self, node: nodes.Dict, *_: Any) -> nodes.Node:
        return _filtered(self.generic_visit(node), KEEP)

    def visit_Tuple(self, node: nodes.Tuple, *_: Any) -> nodes.Node:
        self.generic_visit(node)
        return _filtered(node, KEEP) if node.ctx == "load" else node


def _filtered(node: Any, name: str) -> nodes.Filter:
    made = nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)
    made.environment = node.environment
    return made
