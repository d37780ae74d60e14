"""What a page asks of Python: run a cell, check an answer.

The page of the course runs this under Pyodide; the build of the book runs ``run_cell`` too, for the
outputs that a page shows before anybody presses Run. Strings go in and out.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import linecache
import traceback
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from normcourse.checks.source import parse, same_code

if TYPE_CHECKING:
    from normcourse.checks.feedback import Feedback

__all__ = ["answer", "check_cell", "printing", "run_cell"]

NAME = "<your code>"
PRINT_LIMIT = 20_000  # characters of output that a page shows


def answer(request: str, write: Callable[[str], object]) -> str:
    """Answer a request of the page: JSON in, JSON out, what is printed goes to ``write``.

    Args:
        request: ``{"do": "run", "code": ...}`` or ``{"do": "check", "code": ..., "exercise": id}``.
        write: called with each piece of what the code prints, up to ``PRINT_LIMIT`` characters.

    Returns:
        ``{"stopped": text}`` for a run, ``{"feedback": {...}, "comparison": text}`` for a check.

    Example:
        >>> answer('{"do": "run", "code": "print(1)"}', lambda text: None)
        '{"stopped": ""}'
    """
    asked = json.loads(request)
    with printing(write):
        if asked["do"] == "run":
            return json.dumps({"stopped": run_cell(asked["code"])})
        feedback = check_cell(asked["exercise"], asked["code"])
    return json.dumps(
        {"feedback": json.loads(feedback.to_json()), "comparison": feedback.comparison}
    )


@contextlib.contextmanager
def printing(write: Callable[[str], object]) -> Iterator[None]:
    """Hand on what is printed, cut at ``PRINT_LIMIT`` characters."""
    paper = _Paper(write)
    with contextlib.redirect_stdout(paper), contextlib.redirect_stderr(paper):
        yield


class _Paper(io.TextIOBase):
    def __init__(self, write: Callable[[str], object]) -> None:
        self._hand_on, self._room, self._full = write, PRINT_LIMIT, False

    def writable(self) -> bool:
        return True

    def write(self, text: str, /) -> int:
        kept = text[: self._room]
        self._room -= len(kept)
        if kept:
            self._hand_on(kept)
        if len(kept) < len(text) and not self._full:
            self._full = True
            self._hand_on("\n… more was printed than a page shows\n")
        return len(text)


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


def check_cell(exercise_id: str, code: str) -> Feedback:
    """Judge the code of a cell.

    Raises:
        UnknownExercise: there is no such exercise.

    Example:
        >>> check_cell("normalized_example", "def normalized_example(:").status
        'error'
    """
    from normcourse.checks import find
    from normcourse.checks.judge import not_loaded, not_started
    from normcourse.checks.notebook import verdict_on
    from normcourse.checks.texts import text_of

    exercise = find(exercise_id)
    if not code.strip() or same_code(code, text_of(exercise).stub):
        return not_started(exercise)
    try:
        tree = parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return not_loaded(exercise, f"syntax error: {_no_syntax(error)}")
    scope, stopped = _scope(code), ""
    for statement in tree.body:  # one that fails costs itself alone: calls below the function, say
        try:
            exec(compile(ast.Module([statement], []), NAME, "exec"), scope)
        except BaseException as error:
            stopped = stopped or _told(error)
    if exercise_id not in scope:
        why = f" What stopped it: {stopped}" if stopped else ""
        return not_loaded(exercise, f"`{exercise_id}` is not defined.{why}")
    return verdict_on(exercise, scope[exercise_id])


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
