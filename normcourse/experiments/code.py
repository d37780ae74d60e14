"""A hash of all the project's source that a function reaches: has an experiment changed?"""

from __future__ import annotations

import ast
import hashlib
import inspect
import textwrap
from types import CodeType, FunctionType, ModuleType
from typing import Any


def code_hash(function: Any) -> str:
    """Return 16 hex digits for the source of a function and of what it calls in this project.

    Comments, docstrings and layout do not count; the constants, functions and classes of
    ``normcourse`` that the function names do, and theirs in turn.

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
    thing = inspect.unwrap(thing)
    module = getattr(thing, "__module__", None) or ""
    if not isinstance(thing, FunctionType | type) or not module.startswith("normcourse"):
        return
    name = f"{module}.{thing.__qualname__}"
    if name in seen:
        return
    seen[name] = _source(thing)
    if isinstance(thing, type):
        for base in thing.__bases__:
            _visit(base, seen)
        functions = [_function(member) for member in vars(thing).values()]
    else:
        functions = [thing]
    for function in functions:
        if function is not None:
            _follow(function, name, seen)


def _follow(function: FunctionType, owner: str, seen: dict[str, str]) -> None:
    """Visit what a function's code names among the globals of its file."""
    words = _names(function.__code__)
    for word in sorted(words & function.__globals__.keys()):
        value = function.__globals__[word]
        if isinstance(value, ModuleType):
            if value.__name__.startswith("normcourse"):
                for inner in sorted(words & vars(value).keys()):
                    _visit(vars(value)[inner], seen)
        elif isinstance(value, FunctionType | type):
            _visit(value, seen)
        else:
            _constant(value, f"{owner}:{word}", seen)


def _constant(value: Any, name: str, seen: dict[str, str]) -> None:
    """Add a constant; a table of functions counts by its functions."""
    if isinstance(value, dict):
        for key, item in value.items():
            _constant(item, f"{name}[{key!r}]", seen)
    elif isinstance(value, tuple | list):
        for k, item in enumerate(value):
            _constant(item, f"{name}[{k}]", seen)
    elif isinstance(value, FunctionType | type):
        seen[name] = getattr(value, "__qualname__", "")
        _visit(value, seen)
    elif isinstance(value, int | float | str | bytes | bool | None):
        seen[name] = repr(value)


def _function(member: Any) -> FunctionType | None:
    """Return the function behind a member of a class."""
    member = getattr(member, "__func__", member)
    member = getattr(member, "fget", member)
    return member if isinstance(member, FunctionType) else None


def _names(code: CodeType) -> set[str]:
    """Return every name that a piece of code and the functions within it use."""
    inner = [_names(part) for part in code.co_consts if isinstance(part, CodeType)]
    return set(code.co_names).union(*inner)


def _source(thing: Any) -> str:
    """Return the syntax tree of a function or class without its docstrings."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(thing)))
    except (OSError, TypeError, SyntaxError):  # made at run time, as NamedTuple's methods
        return f"{thing.__module__}.{thing.__qualname__}"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)
