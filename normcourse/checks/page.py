"""What a page asks of Python: run a cell, check an answer.

The page of the course runs this under Pyodide; the build of the book runs ``run_cell`` too, for the
outputs that a page shows before anybody presses Run. Strings go in and out.
"""

from __future__ import annotations

import ast
import linecache
import traceback
from typing import Any

from normcourse.checks.source import parse, same_code

__all__ = ["check_cell", "run_cell"]

NAME = "<your code>"


def run_cell(code: str) -> str:
    """Run code as a notebook cell would: it prints, and so does its last line if it has a value.

    NumPy is there as ``np``. Each call begins with nothing else, so that a cell says all it needs.

    Returns:
        What stopped it, with the line; empty if nothing did.

    Example:
        >>> run_cell("x = np.arange(3.0)\\nx - x.mean()")
        array([-1.,  0.,  1.])
        ''
        >>> run_cell("x = 1\\ny = x / 0")
        'line 2: y = x / 0\\nZeroDivisionError: division by zero'
    """
    try:
        body = parse(code).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return _no_syntax(error)
    end = body[-1] if body else None
    last = end.value if isinstance(end, ast.Expr) else None
    scope = _scope(code)
    try:
        exec(compile(ast.Module(body if last is None else body[:-1], []), NAME, "exec"), scope)
        if last is not None:
            value = eval(compile(ast.Expression(last), NAME, "eval"), scope)
            if value is not None:
                print(repr(value))
    except BaseException as error:
        return _told(error)
    return ""


def check_cell(exercise_id: str, code: str) -> str:
    """Judge the code of a cell and return the feedback as JSON.

    Raises:
        UnknownExercise: there is no such exercise.

    Example:
        >>> import json
        >>> json.loads(check_cell("normalized_example", "def normalized_example(:"))["status"]
        'error'
    """
    from normcourse.checks import find
    from normcourse.checks.judge import not_loaded, not_started
    from normcourse.checks.notebook import verdict_on
    from normcourse.checks.texts import text_of

    exercise = find(exercise_id)
    if not code.strip() or same_code(code, text_of(exercise).stub):
        return not_started(exercise).to_json()
    try:
        tree = parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return not_loaded(exercise, f"syntax error: {_no_syntax(error)}").to_json()
    scope, stopped = _scope(code), ""
    for statement in tree.body:  # one that fails costs itself alone: calls below the function, say
        try:
            exec(compile(ast.Module([statement], []), NAME, "exec"), scope)
        except BaseException as error:
            stopped = stopped or _told(error)
    if exercise_id not in scope:
        why = f" What stopped it: {stopped}" if stopped else ""
        return not_loaded(exercise, f"`{exercise_id}` is not defined.{why}").to_json()
    return verdict_on(exercise, scope[exercise_id]).to_json()


def _scope(code: str) -> dict[str, Any]:
    import numpy

    linecache.cache[NAME] = (len(code), None, code.splitlines(keepends=True), NAME)
    return {"np": numpy, "__name__": "__main__"}


def _no_syntax(error: BaseException) -> str:
    if not isinstance(error, SyntaxError):
        return str(error) or type(error).__name__
    line = (error.text or "").strip()[:200]
    return f"{error.msg} in line {error.lineno}" + (f": `{line}`" if line else "")


def _told(error: BaseException) -> str:
    """Return the error and the last line of the learner's own that led to it."""
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == NAME]
    where = f"line {own[-1].lineno}: {own[-1].line}\n" if own else ""
    text = "".join(traceback.format_exception_only(error)).strip()
    return where + text
