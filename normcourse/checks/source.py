"""Finding answers in files: the code of a notebook or a .py file, and what it defines.

The last top-level function or class of an exercise's name counts. Cells are kept apart, so that a
syntax error in one costs that one alone; magics and shell lines are left out and reported.
"""

from __future__ import annotations

import ast
import json
import re
from dataclasses import dataclass, field
from pathlib import Path

MAX_BYTES = 50 * 1024 * 1024
_SHELL = re.compile(r"^\s*[!%]")
_CELL_MAGIC = re.compile(r"^\s*%%(\w*)")


class BadSource(ValueError):
    """A file that holds no code of ours to judge; the message says what to do."""


@dataclass(frozen=True)
class Cell:
    """One piece of code with the name that its errors show.

    Args:
        label: such as "cell 3" or "answers.py".
        code: Python text without magics.
        skipped: lines that were left out.
        problem: syntax error in words, or empty.
    """

    label: str
    code: str
    skipped: tuple[str, ...] = ()
    problem: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the functions and classes defined at top level, in order."""
        if self.problem:
            found = re.findall(r"^(?:def|class)\s+(\w+)", self.code, flags=re.MULTILINE)
            return tuple(found)
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        return tuple(n.name for n in ast.parse(self.code).body if isinstance(n, kinds))


@dataclass(frozen=True)
class Source:
    """The code cells of a file."""

    path: Path
    cells: tuple[Cell, ...] = field(default=())

    def defines(self, name: str) -> Cell | None:
        """Return the last cell that defines ``name``, or None."""
        return next((cell for cell in reversed(self.cells) if name in cell.names), None)

    def definition(self, name: str) -> str | None:
        """Return the text of the last definition of ``name``, or None."""
        cell = self.defines(name)
        if cell is None or cell.problem:
            return None
        return definition_in(cell.code, name)


def read_source(path: Path) -> Source:
    """Return the code cells of a notebook or Python file.

    Raises:
        BadSource: no such file, not a notebook or Python file, or broken JSON.
    """
    if not path.exists():
        raise BadSource(f"{path}: no such file. Give a notebook (.ipynb) or a Python file (.py).")
    if path.is_dir():
        raise BadSource(f"{path}: is a folder. Give one notebook (.ipynb) or Python file (.py).")
    if path.suffix not in (".ipynb", ".py"):
        raise BadSource(f"{path}: expected a file ending in .ipynb or .py, got {path.suffix!r}.")
    try:
        if path.stat().st_size > MAX_BYTES:
            raise BadSource(
                f"{path}: larger than {MAX_BYTES // 2**20} MB. Clear its outputs first."
            )
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadSource(f"{path}: not UTF-8 text ({error.reason}). Save it as UTF-8.") from None
    except OSError as error:
        raise BadSource(f"{path}: cannot be read ({error.strerror}).") from None
    if path.suffix == ".py":
        return Source(path, (_cell(path.name, text),))
    return Source(path, tuple(_notebook_cells(path, text)))


def definition_in(code: str, name: str) -> str | None:
    """Return the text of the last top-level definition of ``name`` in ``code``, or None.

    Example:
        >>> definition_in("a = 1\\ndef f(x):\\n    return x\\n", "f")
        'def f(x):\\n    return x'
    """
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    nodes = [n for n in ast.parse(code).body if isinstance(n, kinds) and n.name == name]
    return ast.get_source_segment(code, nodes[-1]) if nodes else None


def same_code(one: str, other: str) -> bool:
    """Say whether two texts are the same code, comments, docstrings and layout aside.

    Example:
        >>> same_code("def f(x):\\n  return x  # here", "def f(x):\\n    'doc'\\n    return x")
        True
    """
    try:
        return _skeleton(one) == _skeleton(other)
    except (SyntaxError, ValueError, RecursionError):
        return False


def _skeleton(code: str) -> str:
    tree = ast.parse(code)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            value = body[0].value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                node.body = body[1:] or [ast.Pass()]  # type: ignore[attr-defined]
    return ast.dump(tree)


def _notebook_cells(path: Path, text: str) -> list[Cell]:
    try:
        notebook = json.loads(text)
    except (ValueError, RecursionError) as error:
        where = f" at line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise BadSource(
            f"{path}: broken JSON{where}; the notebook was not saved whole. "
            f"Save it again, or take a fresh copy with `normcourse start`."
        ) from None
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if not isinstance(cells, list):
        raise BadSource(f"{path}: not a notebook, it has no cells (format 4 is expected).")
    found = []
    for number, cell in enumerate(cells, 1):
        if isinstance(cell, dict) and cell.get("cell_type") == "code":
            source = cell.get("source", "")
            source = source if isinstance(source, str) else "".join(map(str, source))
            found.append(_cell(f"cell {number}", source))
    return found


def _cell(label: str, text: str) -> Cell:
    code, skipped = _without_magics(text)
    problem = ""
    try:
        ast.parse(code)
    except SyntaxError as error:
        line = (error.text or "").strip()
        problem = f"{error.msg} in line {error.lineno}" + (f": `{line}`" if line else "")
    except (ValueError, RecursionError, MemoryError) as error:
        problem = str(error) or type(error).__name__
    return Cell(label, code, tuple(skipped), problem)


def _without_magics(text: str) -> tuple[str, list[str]]:
    """Replace magics and shell lines by comments, so that line numbers stay."""
    lines = text.splitlines()
    first = next((line for line in lines if line.strip()), "")
    magic = _CELL_MAGIC.match(first)
    if magic and magic.group(1) not in ("time", "timeit", "capture", "prun"):
        return "\n".join("#" for _ in lines), [first.strip()]
    skipped, kept = [], []
    try:
        ast.parse(text)
        return text, []
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        pass
    for line in lines:
        if _SHELL.match(line) or re.match(r"^\s*\w[\w.]*\?+\s*$", line):
            skipped.append(line.strip())
            indent = line[: len(line) - len(line.lstrip())]
            kept.append(f"{indent}pass")
        else:
            kept.append(line)
    return "\n".join(kept) + "\n", skipped
