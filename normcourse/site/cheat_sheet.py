"""``{cheat-sheet}``: the registry of methods on one page, and the same as a PDF to print.

The page is made from the rows of ``normcourse.norms`` when the book is built, the PDF drawn from
the same rows into the built site. Without matplotlib (a light build) the page says that there is
no PDF. By hand: ``python -m normcourse.site.cheat_sheet FILE.pdf``.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from normcourse.norms import METHODS
from normcourse.norms.sheet import (
    BACKWARD,
    CHECKS,
    FORWARD,
    GRADIENT,
    GROUPS,
    KINDS,
    MAIN,
    counts,
    kept,
    placements,
)
from normcourse.site.html import Tag
from normcourse.site.markdown import blocks

if TYPE_CHECKING:
    from sphinx.application import Sphinx

__all__ = ["CheatSheet", "page", "register"]

FILE = "cheatsheet.pdf"
MARK = "normcourse-cheat-sheet"  # of a page that links to the file


class CheatSheet(SphinxDirective):
    """The sheet, and above it the link to the PDF."""

    has_content = False

    def run(self) -> list[nodes.Node]:
        """Return the page's content."""
        self.env.metadata[self.env.docname][MARK] = FILE
        return [self._download(), *blocks(self, page())]

    def _download(self) -> nodes.Node:
        if not _can_draw():
            return nodes.paragraph(
                "", "This build has no PDF of the sheet (matplotlib is missing)."
            )
        address = "../" * self.env.docname.count("/") + FILE
        attributes = {"class": "nc-download", "href": address, "download": "normalization.pdf"}
        link = Tag("a", attributes, [nodes.Text("Download it as a PDF, one page A4")])
        return Tag("p", children=[link])


def page() -> str:
    """Return the sheet in MyST Markdown."""
    parts = [
        "## The one formula",
        f"$$\n{FORWARD}\n$$",
        "Mean and variance are taken over the values that the method pools, the variance with "
        "divisor n. The gradient:",
        f"$$\n{BACKWARD}\n$$",
        "\n".join(f"- {line}" for line in GRADIENT),
        "## Five methods, counted",
        _table(
            ("method", "for an array of shape", "means", "values per mean", "learned", "kept"),
            (_counted(name) for name in MAIN),
        ),
        f"GroupNorm with {GROUPS} groups. Only what keeps statistics answers differently in "
        "training and in inference.",
    ]
    for kind, title in KINDS.items():
        rows = [row for row in METHODS.values() if row.kind == kind]
        heads = ("method", "formula", "one statistic pools", "learned; kept")
        table = _table(
            heads, ((_title(r.title), f"${r.formula}$", r.pooled, _names(r)) for r in rows)
        )
        parts += [f"## {title}", table]
    parts += ["## Where it stands in a block"]
    parts += ["\n".join(f"- **{name}**: `{line}`" for name, line in placements().items())]
    parts += ["## Before you run it"]
    parts += ["\n".join(f"- {text} {_chapters(where)}" for text, where in CHECKS)]
    return "\n\n".join(parts)


def _counted(name: str) -> tuple[str, ...]:
    row = METHODS[name]
    found = counts(row)
    shape = "(" + ",\u00a0".join(map(str, found.shape)) + ")"  # on one line
    stored = ", ".join(f"`{name}`" for name in kept(row)) or "–"
    return row.title, shape, str(found.means), str(found.values), str(found.learned), stored


def _title(words: str) -> str:
    return words[:1].upper() + words[1:]


def _names(row: object) -> str:
    """Return what a method learns and what it keeps."""
    both = (row.parameters, kept(row))  # type: ignore[attr-defined, arg-type]
    return "; ".join(", ".join(f"`{name}`" for name in names) for names in both if names) or "–"


def _chapters(numbers: Sequence[int]) -> str:
    return "(" + ", ".join(f"{{chapter}}`chapter {n} <{n}>`" for n in numbers) + ")"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = ["```{list-table}", ":header-rows: 1", ":class: nc-methods", ""]
    for cells in (head, *rows):
        first, *others = cells
        lines += [f"* - {first}", *(f"  - {cell}" for cell in others)]
    return "\n".join([*lines, "```"])


def _can_draw() -> bool:
    return importlib.util.find_spec("matplotlib") is not None


def write(path: Path) -> None:
    """Draw the PDF."""
    from normcourse.figures.sheet import cheat_sheet

    path.write_bytes(cheat_sheet())


def write_pdf(app: Sphinx, exception: Exception | None) -> None:
    """Put the PDF into the site if a page has the sheet."""
    if exception is not None or app.builder.name != "html" or not _can_draw():
        return
    if any(MARK in known for known in app.env.metadata.values()):
        write(Path(app.outdir) / FILE)


def register(app: Sphinx) -> None:
    """Add the directive; draw before the list of all files is made."""
    app.add_directive("cheat-sheet", CheatSheet)
    app.connect("build-finished", write_pdf, priority=360)


if __name__ == "__main__":
    write(Path(sys.argv[1] if len(sys.argv) > 1 else FILE))
