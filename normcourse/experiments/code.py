"""A hash of all the project's source that a function reaches: has an experiment changed?"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib
import inspect
import textwrap
from dataclasses import fields, is_dataclass
from enum import Enum
from types import CodeType, FunctionType, ModuleType
from typing import Any

_PROJECT = "normcourse"
_APART = f"{_PROJECT}.kernels"
_NOT_SHAPE = {"ctx", "kind", "type_comment"}


def code_hash(function: Any) -> str:
    """Return 16 hex digits for the source of a function and of what it calls in this project.

    Comments, docstrings and layout do not count; the constants, functions and classes of
    ``normcourse`` that the function names do, and theirs in turn. Every version of Python gives the
    same digits, since nothing counts that Python itself puts into code. The fused kernels stand
    apart: modules take them where ``backend="fused"`` is said, which no experiment does.

    Example:
        >>> from normcourse.experiments import digit_net
        >>> code_hash(digit_net) == code_hash(digit_net)
        True
    """
    seen: dict[str, str] = {}
    _visit(function, seen)
    text = "\n".join(f"{name}={source}" for name, source in sorted(seen.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _visit(thing: Any, seen: dict[str, str]) -> None:
    """Add the source of a function or class of the project, and of all that it names."""
    thing = inspect.unwrap(getattr(thing, "__func__", thing))
    if not isinstance(thing, FunctionType | type) or not _is_ours(thing):
        return
    tree = _tree(thing)
    source = thing.__qualname__ if tree is None else _shape(tree)
    name = f"{thing.__module__}.{thing.__qualname__}"
    if isinstance(thing, FunctionType) and thing.__name__ == "<lambda>":
        name += f"({source})"  # all lambdas of a file have one name
    if name in seen:
        return
    seen[name] = source
    if isinstance(thing, type):
        _follow_class(thing, tree, name, seen)
    else:
        _follow(thing, name, seen)
    if tree is not None:
        _follow_imports(tree, name, seen)


def _follow_class(thing: type, tree: ast.AST | None, name: str, seen: dict[str, str]) -> None:
    """Visit the bases of a class, what its methods name, and the constants in its body."""
    for base in thing.__bases__:
        _visit(base, seen)
    body = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} if tree else set()
    for word, member in vars(thing).items():
        for part in ("__func__", "func", "fget"):  # class and static methods, cached and plain ones
            member = getattr(member, part, member)
        if isinstance(member, FunctionType):
            _follow(inspect.unwrap(member), f"{name}.{word}", seen)
        elif word in body:
            _constant(member, f"{name}.{word}", seen)


def _is_ours(thing: Any) -> bool:
    module = getattr(thing, "__module__", None) or ""
    if module == _APART or module.startswith(f"{_APART}."):
        return False
    return module == _PROJECT or module.startswith(f"{_PROJECT}.")


def _follow(function: FunctionType, owner: str, seen: dict[str, str]) -> None:
    """Visit what a function's code names among the globals of its file, and what it closes over."""
    if function.__code__.co_filename.startswith("<") or not _is_ours(function):
        return  # a dataclass wrote it, or Python has it for all of them
    words = {word for word in _names(function.__code__) if not word.startswith("__")}
    for word in sorted(words & function.__globals__.keys()):
        value = function.__globals__[word]
        if not isinstance(value, ModuleType):
            _constant(value, f"{owner}:{word}", seen)
        elif value.__name__.split(".")[0] == _PROJECT:
            for inner in sorted(words & vars(value).keys()):
                _constant(vars(value)[inner], f"{value.__name__}:{inner}", seen)
    _constant(function.__defaults__, f"{owner}:defaults", seen)
    _constant(function.__kwdefaults__, f"{owner}:defaults", seen)
    for word, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            _constant(cell.cell_contents, f"{owner}:{word}", seen)
        except ValueError:  # not yet given a value
            continue


def _follow_imports(tree: ast.AST, owner: str, seen: dict[str, str]) -> None:
    """Visit what a function takes from the project by an import of its own."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == _PROJECT:
            try:
                module = importlib.import_module(node.module or "")
            except ImportError:  # needs something that is not installed, and so cannot be reached
                continue
            for alias in node.names:
                _constant(getattr(module, alias.name, None), f"{owner}:{alias.name}", seen)


def _constant(value: Any, name: str, seen: dict[str, str]) -> None:
    """Add a constant; functions, classes and what holds them count by their source."""
    if isinstance(value, FunctionType | type):
        seen[name] = value.__qualname__
        _visit(value, seen)
    elif isinstance(value, functools.partial):
        _constant([value.func, *value.args, value.keywords], name, seen)
    elif isinstance(value, dict):
        for key, item in value.items():
            _constant(item, f"{name}[{getattr(key, '__qualname__', key)!r}]", seen)
    elif isinstance(value, tuple | list):
        for k, item in enumerate(value):
            _constant(item, f"{name}[{k}]", seen)
    elif isinstance(value, set | frozenset):
        seen[name] = repr(sorted(map(repr, value)))
    elif isinstance(value, Enum):
        seen[name] = str(value)
    elif is_dataclass(value) and not isinstance(value, type):
        _visit(type(value), seen)
        for field in fields(value):
            _constant(getattr(value, field.name), f"{name}.{field.name}", seen)
    elif value is None or isinstance(value, int | float | complex | str | bytes | bool):
        seen[name] = repr(value)


def _shape(node: Any) -> str:
    """Return a syntax tree as text that is the same in every version of Python."""
    if isinstance(node, ast.AST):
        fields = [(name, value) for name, value in ast.iter_fields(node) if name not in _NOT_SHAPE]
        told = [f"{name}={_shape(value)}" for name, value in fields if value not in (None, [])]
        return f"{type(node).__name__}({', '.join(told)})"
    if isinstance(node, list):
        return f"[{', '.join(map(_shape, node))}]"
    return repr(node)


def _names(code: CodeType) -> set[str]:
    """Return every name that a piece of code and the functions within it use."""
    inner = [_names(part) for part in code.co_consts if isinstance(part, CodeType)]
    return set(code.co_names).union(*inner)


@functools.cache  # as the source was when it was first asked for, which is nearest to what runs
def _tree(thing: Any) -> ast.AST | None:
    """Return the syntax tree of a function or class without docstrings; None for generated ones."""
    try:
        if isinstance(thing, FunctionType) and thing.__name__ == "<lambda>":
            return _lambda(thing)
        tree = ast.parse(textwrap.dedent(inspect.getsource(thing)))
    except (OSError, TypeError, SyntaxError):  # made at run time, as a NamedTuple's methods
        return None
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        if ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return tree


def _lambda(function: FunctionType) -> ast.AST | None:
    """Return the tree of a lambda; of all that begin on its line, where there are several."""
    lines, _ = inspect.findsource(function)
    first = function.__code__.co_firstlineno
    nodes = [
        node
        for node in ast.walk(ast.parse("".join(lines)))
        if isinstance(node, ast.Lambda) and node.lineno == first
    ]
    return ast.Tuple(elts=list(nodes), ctx=ast.Load()) if nodes else None
