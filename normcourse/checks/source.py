"""Finding answers in files: the code of a notebook or a .py file, and what it defines.

The last top-level function or class of an exercise's name counts. Cells are kept apart, so that a
syntax error in one costs that one alone; magics and shell lines are left out and reported.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path

MAX_BYTES = 50 * 1024 * 1024
# Patterns as text: compiled when a file holds what is not Python, which most do not.
_SHELL = r"^\s*(?:\w[\w, ]*=\s*)?[!%](?!=)"
_HELP = r"^\s*(?:\?+\w[\w.]*|\w[\w.]*\?+)\s*$"
_CELL_MAGIC = re.compile(r"^\s*%%(\w*)")
_PYTHON_MAGICS = ("time", "timeit", "capture", "prun")
_OPENING = r"^(?:(?:def|class|async def|import|from)\b|@|# %%|^\w[\w, ]*=[^=])"
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


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
        place: index among the notebook's cells.
        tree: what the code parses to, None where there is a problem. Whoever needs it takes this
            one: at the parser's limit of depth, the same text parses in one function and fails
            in another that is called from further down.
    """

    label: str
    code: str
    skipped: tuple[str, ...] = ()
    problem: str = ""
    place: int = 0
    tree: ast.Module | None = field(default=None, compare=False, repr=False)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the functions and classes defined at top level, in order."""
        if self.tree is None:
            return tuple(re.findall(r"^(?:def|class)\s+(\w+)", self.code, flags=re.MULTILINE))
        return tuple(name for node in self.tree.body for name in _defined(node))


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
        if cell is None or cell.tree is None:
            return None
        return _text_of_definition(cell.tree, cell.code, name)


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
    return source_of(path, text)


def source_of(path: Path, text: str) -> Source:
    """Return the code cells of a text that was read already; its ending says of which kind it is.

    Raises:
        BadSource: the text of a notebook is none.
    """
    if path.suffix == ".py":
        return Source(path, tuple(_parts(path.name, text)))
    return Source(path, tuple(_notebook_cells(path, text)))


def definition_in(code: str, name: str) -> str | None:
    """Return the text of the last top-level definition of ``name`` in ``code``, or None.

    Example:
        >>> definition_in("a = 1\\ndef f(x):\\n    return x\\n", "f")
        'def f(x):\\n    return x'
    """
    return _text_of_definition(parse(code), code, name)


def _text_of_definition(tree: ast.Module, code: str, name: str) -> str | None:
    nodes = [n for n in tree.body if isinstance(n, _DEFINITIONS) and n.name == name]
    return ast.get_source_segment(code, nodes[-1]) if nodes else None


def lines_of(code: str, name: str) -> tuple[int, int] | None:
    """Return the first and last line, from 1, of the last top-level definition of ``name``.

    Example:
        >>> lines_of("import a\\n\\n@a.b\\ndef f(x):\\n    return x\\n", "f")
        (3, 5)
    """
    found = [node for node in parse(code).body if name in _defined(node)]
    if not found:
        return None
    first = min([found[-1].lineno, *(d.lineno for d in getattr(found[-1], "decorator_list", []))])
    return first, found[-1].end_lineno or first


def parse(code: str) -> ast.Module:
    """Return the syntax tree; a learner's odd escapes are no warning of ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(code)


def _defined(node: ast.stmt) -> list[str]:
    """Return what a statement defines: a function, a class or a named lambda."""
    if isinstance(node, _DEFINITIONS):
        return [node.name]
    if isinstance(node, ast.Assign) and isinstance(node.value, ast.Lambda):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    return []


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


@lru_cache(maxsize=64)  # a stub's is asked for with every answer
def _skeleton(code: str) -> str:
    tree = parse(code)
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
            lines = source if isinstance(source, list) else [source or ""]  # null, in broken files
            source = "".join(map(str, lines))
            found.append(_cell(f"cell {number}", source, number - 1))
    return found


def _parts(name: str, text: str) -> list[Cell]:
    """Return a Python file as one cell, or, where it does not parse, in the parts that do.

    A part begins where a line opens something at top level. It keeps its line numbers.
    """
    whole = _cell(name, text)
    if not whole.problem:
        return [whole]
    lines = text.splitlines()
    starts = [n for n, line in enumerate(lines) if n == 0 or re.match(_OPENING, line)]
    starts = [n for n in starts if n == 0 or not lines[n - 1].startswith("@")]  # decorated
    ends = [*starts[1:], len(lines)]
    parts = [
        _cell(name, "\n" * start + "\n".join(lines[start:end]))
        for start, end in zip(starts, ends, strict=True)
    ]
    # An opening that the next part closes parses nowhere: then the file is broken as a whole.
    return parts if any(part.names for part in parts if not part.problem) else [whole]


def _cell(label: str, text: str, place: int = 0) -> Cell:
    code, (tree, problem), skipped = _without_magics(text)
    return Cell(label, code, tuple(skipped), problem, place, tree)


_Parsed = tuple[ast.Module | None, str]


def _parsed(code: str) -> _Parsed:
    """Return the syntax tree of a text, or None and its syntax error in words."""
    try:
        return parse(code), ""
    except SyntaxError as error:
        line = (error.text or "").strip()[:200]
        return None, f"{error.msg} in line {error.lineno}" + (f": `{line}`" if line else "")
    except (ValueError, RecursionError, MemoryError) as error:
        return None, str(error) or type(error).__name__


def _without_magics(text: str) -> tuple[str, _Parsed, list[str]]:
    """Replace magics and shell lines by ``pass``, so that line numbers stay."""
    lines = text.splitlines()
    first = next((line for line in lines if line.strip()), "")
    magic = _CELL_MAGIC.match(first)
    if magic and magic.group(1) not in _PYTHON_MAGICS:
        code = "\n".join("#" for _ in lines)
        return code, _parsed(code), [first.strip()]
    parsed = _parsed(text)
    if parsed[0] is not None:
        return text, parsed, []
    skipped, kept = [], []
    for line in lines:
        if re.match(_SHELL, line) or re.match(_HELP, line):
            skipped.append(line.strip())
            indent = line[: len(line) - len(line.lstrip())]
            kept.append(f"{indent}pass")
        else:
            kept.append(line)
    code = "\n".join(kept) + "\n"
    return code, _parsed(code), skipped
