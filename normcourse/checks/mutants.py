"""Automatic wrong answers: a solution with one small change, tried against its judge.

Each mutant changes one place of the authors' solution as a slip would: an operator, an axis or
another constant, a dropped term, a reduction, the order of what is returned. A judge that lets one
pass either lacks a case, or the mutant is equivalent: it computes the same.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

_BINARY: dict[type[ast.operator], tuple[type[ast.operator], ...]] = {
    ast.Add: (ast.Sub,),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.Div, ast.Add),
    ast.Div: (ast.Mult,),
    ast.Pow: (ast.Mult,),
    ast.MatMult: (),
    ast.FloorDiv: (ast.Mult,),
    ast.Mod: (ast.FloorDiv,),
}
_COMPARE: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.GtE,
    ast.LtE: ast.Gt,
    ast.Gt: ast.LtE,
    ast.GtE: ast.Lt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
_NAMES = {
    "mean": ("sum", "max"),
    "sum": ("mean",),
    "var": ("std",),
    "std": ("var",),
    "max": ("min",),
    "min": ("max",),
    "sqrt": ("square",),
    "square": ("abs",),
    "tanh": ("sin",),
    "exp": ("expm1",),
    "log": ("log1p",),
    "zeros": ("ones",),
    "ones": ("zeros",),
    "zeros_like": ("ones_like",),
    "maximum": ("minimum",),
}


@dataclass(frozen=True)
class Mutant:
    """A solution with one change.

    Args:
        key: where and what was changed: line and column of the solution, old and new code.
        code: source text of the mutant.
    """

    key: str
    code: str


def mutants(code: str) -> list[Mutant]:
    """Return every mutant of a solution, each once.

    Example:
        >>> [m.key for m in mutants("def f(x):\\n    return x + 1")]
        ['2:11 x + 1 → x - 1', '2:11 x + 1 → x', '2:11 x + 1 → 1', '2:15 1 → 2', '2:15 1 → 0']
    """
    tree = ast.parse(code)
    _drop_docstrings(tree)
    original = ast.unparse(tree)
    found: dict[str, Mutant] = {}
    for place, node in enumerate(ast.walk(tree)):
        for replacement in _replacements(node):
            changed = deepcopy(tree)
            target = next(n for i, n in enumerate(ast.walk(changed)) if i == place)
            text = _swap(changed, target, replacement)
            if text is not None and text != original and text not in found:
                old, new = _brief(node), _brief(replacement)
                where = f"{getattr(node, 'lineno', 0)}:{getattr(node, 'col_offset', 0)}"
                found[text] = Mutant(f"{where} {old} → {new}", text)
    return list(found.values())


def _replacements(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what one node may be replaced by."""
    match node:
        case ast.BinOp(left, operator, right):
            for other in _BINARY.get(type(operator), ()):
                yield ast.BinOp(left, other(), right)
            yield left
            yield right
        case ast.UnaryOp(ast.USub(), operand):
            yield operand
        case ast.UnaryOp(ast.Not() | ast.Invert(), operand):
            yield operand
        case ast.Compare(left, [operator], [right]) if type(operator) in _COMPARE:
            yield ast.Compare(left, [_COMPARE[type(operator)]()], [right])
        case ast.Constant(value) if isinstance(value, bool):
            yield ast.Constant(not value)
        case ast.Constant(value) if isinstance(value, int):
            yield from (ast.Constant(value + 1), ast.Constant(value - 1))
        case ast.Constant(value) if isinstance(value, float):
            yield from (ast.Constant(value * 2), ast.Constant(0.0))
        case ast.Attribute(value, name, context) if name in _NAMES:
            for other_name in _NAMES[name]:
                yield ast.Attribute(value, other_name, context)
        case ast.Call(ast.Attribute(ast.Name("np")), [first, *_], _):
            yield first
        case ast.Call(function, arguments, [*keywords]) if keywords:
            for dropped in keywords:
                kept = [k for k in keywords if k is not dropped]
                yield ast.Call(function, arguments, kept)
        case ast.Tuple([_, _, *_] as items, ast.Load()):
            yield ast.Tuple([items[1], items[0], *items[2:]], ast.Load())
            yield ast.Tuple(items[:-1], ast.Load())
        case ast.Return(ast.Tuple([_, _, *_] as items)):
            yield ast.Return(ast.Tuple([*items[1:], items[0]], ast.Load()))
        case ast.IfExp(_, body, otherwise):
            yield body
            yield otherwise


def _swap(tree: ast.Module, target: ast.AST, replacement: ast.AST) -> str | None:
    """Return the text of the tree with one node replaced; None where that is no program."""

    class Swap(ast.NodeTransformer):
        def visit(self, node: ast.AST) -> Any:
            return deepcopy(replacement) if node is target else self.generic_visit(node)

    try:
        text = ast.unparse(ast.fix_missing_locations(Swap().visit(tree)))
        compile(text, "<mutant>", "exec")
    except (SyntaxError, ValueError, TypeError):
        return None
    return text


def _drop_docstrings(tree: ast.Module) -> None:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node):
            node.body = node.body[1:] or [ast.Pass()]


def _brief(node: ast.AST) -> str:
    text = ast.unparse(ast.fix_missing_locations(deepcopy(node))).strip()
    return text if len(text) <= 60 else text[:57] + "…"


def survivors(code: str, passes: Callable[[str], bool]) -> tuple[list[Mutant], int]:
    """Return the mutants that pass a judge and the number of all.

    Args:
        code: the solution.
        passes: says of a source text whether the judge lets it pass.
    """
    every = mutants(code)
    return [mutant for mutant in every if passes(mutant.code)], len(every)
