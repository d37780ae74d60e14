"""The cheat sheet as a PDF: one page A4, drawn from the rows of the registry.

It is no card of a page, but paper: white, with text that can be searched and copied.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from normcourse.figures._base import style
from normcourse.figures.palette import FAINT, INK, OTHER, method_color
from normcourse.figures.pooling import pooled_mask
from normcourse.norms import METHODS
from normcourse.norms.method import Method
from normcourse.norms.sheet import (
    BACKWARD,
    CHECKS,
    FORWARD,
    GRADIENT,
    GROUPS,
    KINDS,
    MAIN,
    Counts,
    counts,
    kept,
    placements,
)

WIDTH, HEIGHT, MARGIN = 8.27, 11.69, 0.48  # inches: A4
RIGHT = WIDTH - MARGIN
ROW = 0.318
COLUMNS = (MARGIN, 2.38, 4.66, 6.58)
HEADS = ("method", "formula", "one statistic pools", "learned; kept")
DATE = datetime(2026, 1, 1, tzinfo=UTC)  # the same page gives the same file
PAPER: Any = {"pdf.fonttype": 42, "figure.constrained_layout.use": False}
PICTURE = (4, 6)  # examples, channels


class _Paper:
    """A page on which things are placed in inches from its upper left corner."""

    def __init__(self) -> None:
        self.figure = Figure(figsize=(WIDTH, HEIGHT), facecolor="white")
        self.axes = self.figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(HEIGHT, 0))
        self.axes.set_axis_off()

    def text(self, x: float, y: float, words: str, size: float = 8, **more: Any) -> None:
        """Write words at their middle height."""
        options = {"va": "center", "color": INK, **more}
        self.axes.text(x, y, words, size=size, **options)

    def heading(self, x: float, y: float, words: str) -> None:
        """Write the title of a part."""
        self.text(x, y, words, 9.5, weight="bold")

    def rule(self, y: float, color: str = FAINT, left: float = MARGIN) -> None:
        """Draw a line over the page."""
        self.axes.add_line(Line2D((left, RIGHT), (y, y), color=color, linewidth=0.6))


def cheat_sheet() -> bytes:
    """Return the PDF; the same registry gives the same bytes."""
    with style(), mpl.rc_context(PAPER):
        paper = _Paper()
        paper.text(MARGIN, 0.52, "Normalization on one page", 17, weight="bold")
        paper.text(RIGHT, 0.44, "Normalization, computed · CC BY 4.0", 7, ha="right")
        paper.text(RIGHT, 0.6, "rows: examples, columns: channels or features", 7, ha="right")
        for place, name in enumerate(MAIN):
            _picture(paper, METHODS[name], MARGIN + place * 1.5, 0.82)
        _formulas(paper, 2.6)
        below = _methods(paper, 3.02)
        _placements(paper, below + 0.22)
        _checks(paper, below + 0.22)
        buffer = io.BytesIO()
        facts = {"Title": "Normalization on one page", "Creator": None, "Producer": None}
        paper.figure.savefig(
            buffer, format="pdf", facecolor="white", metadata={**facts, "CreationDate": DATE}
        )
    return buffer.getvalue()


def _picture(paper: _Paper, method: Method, x: float, y: float) -> None:
    """Draw examples as rows and channels as columns, with what one statistic pools."""
    side, color = 0.165, method_color(method.name)
    if method.axes is None:
        raise ValueError(f"{method.name} pools no whole axes and has no picture.")
    groups = GROUPS if method.name == "group_norm" else None
    mask = pooled_mask(method.axes(len(PICTURE)), PICTURE, groups=groups)
    for row, column in ((r, c) for r in range(PICTURE[0]) for c in range(PICTURE[1])):
        inside = bool(mask[row, column])
        corner = (x + column * side, y + row * side)
        fill, edge = (color, color) if inside else ("white", OTHER)
        square = Rectangle(corner, 0.85 * side, 0.85 * side, facecolor=fill, edgecolor=edge)
        square.set_linewidth(0.5)
        paper.axes.add_patch(square)
    below = y + PICTURE[0] * side
    paper.text(x, below + 0.12, method.title, 10, weight="bold", color=color)
    lines = _facts(method, counts(method))
    for place, line in enumerate(lines):
        paper.text(x, below + 0.31 + 0.145 * place, line, 7)


def _facts(method: Method, found: Counts) -> Iterator[str]:
    yield f"({', '.join(map(str, found.shape))}): {found.means} means"
    yield f"of {found.values} values each"
    yield "learns " + ", ".join(method.parameters)
    yield "keeps running statistics" if kept(method) else "keeps nothing"


def _formulas(paper: _Paper, y: float) -> None:
    paper.rule(y - 0.26)
    paper.text(MARGIN, y, f"${FORWARD}$", 10)
    paper.text(3.5, y, f"${BACKWARD}$", 10)


def _methods(paper: _Paper, y: float) -> float:
    """Write the table of all methods; return the height of its end."""
    for x, head in zip(COLUMNS, HEADS, strict=True):
        paper.text(x, y, head, 7.5, weight="bold")
    y += 0.1
    for kind in KINDS:
        paper.rule(y, OTHER)
        for row in (row for row in METHODS.values() if row.kind == kind):
            _line(paper, row, y + ROW / 2)
            y += ROW
            paper.rule(y)
    return y


def _line(paper: _Paper, row: Method, y: float) -> None:
    formula = row.formula.replace(r"\lVert", r"\Vert").replace(r"\rVert", r"\Vert")
    names = ";\n".join(", ".join(part) for part in (row.parameters, kept(row)) if part) or "–"
    title = row.title[:1].upper() + row.title[1:]
    paper.text(COLUMNS[0], y, title, 7.3, weight="bold", color=method_color(row.name))
    paper.text(COLUMNS[1], y, f"${formula}$", 8.6)
    paper.text(COLUMNS[2], y, _broken(row.pooled, 36), 6.4, linespacing=1.15)
    paper.text(COLUMNS[3], y, names, 6.2, linespacing=1.15)


def _broken(words: str, width: int) -> str:
    """Return a text on one line or two."""
    if len(words) <= width:
        return words
    spaces = [place for place, letter in enumerate(words) if letter == " "]
    middle = min(spaces, key=lambda place: abs(place - len(words) / 2), default=0)
    return f"{words[:middle]}\n{words[middle + 1 :]}" if middle else words


def _placements(paper: _Paper, y: float) -> None:
    paper.heading(MARGIN, y, "Where it stands")
    for place, (name, formula) in enumerate(placements().items(), start=1):
        paper.text(MARGIN, y + 0.19 * place, name, 7.5)
        paper.text(1.45, y + 0.19 * place, formula, 6.8, family="monospace")
    for place, line in enumerate(GRADIENT):
        paper.text(MARGIN, y + 1.145 + 0.145 * place, line, 6.9)


def _checks(paper: _Paper, y: float) -> None:
    left = 3.85
    paper.heading(left, y, "Before you run it")
    for place, (words, where) in enumerate(CHECKS, start=1):
        chapters = ", ".join(map(str, where))
        paper.text(left, y + 0.158 * place, f"{words.replace('`', '')} ({chapters})", 6.9)
