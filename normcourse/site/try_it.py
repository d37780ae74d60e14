"""``{try-it}``: a few lines of NumPy that the reader may change and run.

```{try-it}
x = np.array([2.0, 4.0, 6.0, 8.0])
x - x.mean()
```

The body is Python with NumPy (there as ``np``), complete in itself: names of other cells are not
known to it. It prints, and so does its last line if it has a value. The build runs it once, so that
a page without scripts shows the code and what comes of it; code that fails is an error of the
build. With scripts the cell becomes an editor with Run and Reset.

Options: ``:name:`` gives the cell an id of its own, under which a reader's changes are kept;
without it the id comes from the code. ``:raises:`` says that the code is meant to fail.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import io
import sys
import warnings
from typing import TYPE_CHECKING

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective

from normcourse.checks.page import run_cell
from normcourse.site.html import Tag

if TYPE_CHECKING:
    from sphinx.application import Sphinx

__all__ = ["TryIt", "foreign_imports", "output_of", "register"]

ALLOWED = {"numpy", "normcourse"}  # beside the standard library: what the page's Python has


class TryIt(SphinxDirective):
    """A cell to play with: code, and below it what it prints."""

    has_content = True
    option_spec = {  # noqa: RUF012 - docutils declares it so
        "name": directives.unchanged_required,
        "raises": directives.flag,
    }

    def run(self) -> list[nodes.Node]:
        """Return the cell, or say what is wrong with its code."""
        code = "\n".join(self.content).strip("\n")
        if not code.strip():
            raise self.error("try-it: the cell is empty; write NumPy code into it")
        try:
            foreign = foreign_imports(code)
        except SyntaxError as error:
            raise self.error(f"try-it: {error.msg} in line {error.lineno} of the cell") from error
        if foreign:
            names = ", ".join(sorted(foreign))
            raise self.error(f"try-it: imports {names}; the page's Python has NumPy alone")
        printed, stopped = output_of(code)
        if stopped and "raises" not in self.options:
            raise self.error(f"try-it: the cell stops in {stopped}")
        if not (printed or stopped):
            raise self.error("try-it: the cell prints nothing; end it with the value to look at")
        name = self.options.get("name") or hashlib.sha256(code.encode()).hexdigest()[:10]
        return [_cell(name, code, printed, stopped)]


def _cell(name: str, code: str, printed: str, stopped: str) -> Tag:
    shown = "\n".join(part for part in (printed.rstrip("\n"), stopped) if part)
    output = nodes.literal_block(shown, shown, language="text", classes=["nc-printed"])
    return Tag(
        "div",
        {"class": "nc-try", "role": "group", "aria-label": "Try it", "data-try": name},
        [
            Tag("p", {"class": "nc-try-head"}, [nodes.Text("Try it")]),
            Tag(
                "div",
                {"class": "nc-stub", "data-part": "stub"},
                [nodes.literal_block(code, code, language="python")],
            ),
            Tag("div", {"class": "nc-output", "data-part": "output"}, [output]),
        ],
    )


def foreign_imports(code: str) -> set[str]:
    """Return the packages that code imports and the page's Python does not have.

    >>> sorted(foreign_imports("import math, torch\\nfrom numpy import linalg"))
    ['torch']
    """
    names: set[str] = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").partition(".")[0])
    return names - ALLOWED - set(sys.stdlib_module_names)


def output_of(code: str) -> tuple[str, str]:
    """Run a cell and return what it printed and what stopped it.

    >>> output_of("print(1)\\n1 + 1")
    ('1\\n2\\n', '')
    """
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the page's NumPy has no floating-point warnings either
        stopped = run_cell(code)
    return printed.getvalue(), stopped


def register(app: Sphinx) -> None:
    """Add the directive."""
    app.add_directive("try-it", TryIt)
