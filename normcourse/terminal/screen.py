"""Where the commands write: with colours and symbols where they can be seen, plain elsewhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from normcourse.checks.letters import cleaned, to_ascii

if TYPE_CHECKING:
    from rich.console import Console

WIDEST = 100
_STYLES = {"good": "32", "bad": "31", "label": "33", "link": "36", "quiet": "2", "bold": "1"}


@dataclass(frozen=True)
class Screen:
    """An output and what it can show.

    Args:
        stream: where lines go.
        fancy: whether colours and symbols are shown; plain ASCII otherwise.
        width: columns, at most ``WIDEST``.
    """

    stream: TextIO
    fancy: bool = False
    width: int = 80

    def line(self, text: str = "", style: str = "") -> None:
        """Write one line, as text: nothing in it is markup."""
        print(self.styled(text, style), file=self.stream)

    def styled(self, text: str, style: str = "") -> str:
        """Return text fit for this output, in a style where there are colours."""
        text = cleaned(text)
        if not self.fancy:
            return to_ascii(text)
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if style and text else text

    def wrapped(self, text: str, style: str = "", *, indent: int = 2) -> None:
        """Write a paragraph in lines of this output's width."""
        import textwrap

        blank = " " * indent
        text = text if self.fancy else to_ascii(text)
        filled = textwrap.fill(
            cleaned(text),
            self.width,
            initial_indent=blank,
            subsequent_indent=blank,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for line in filled.splitlines():
            self.line(line, style)

    def code(self, text: str) -> None:
        """Write Python code: in colours on a terminal, unchanged elsewhere."""
        if self.fancy:
            from rich.syntax import Syntax

            self.console().print(Syntax(cleaned(text), "python", background_color="default"))
            return
        coding = self.stream.encoding or "ascii"
        print(cleaned(text).encode(coding, "replace").decode(coding), file=self.stream)

    def table(self, heads: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
        """Write a table with columns as wide as they need to be."""
        lines = [[cleaned(cell) for cell in row] for row in (heads, *rows)]
        lines = lines if self.fancy else [[to_ascii(cell) for cell in row] for row in lines]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        lines.insert(1, ["-" * width for width in widths])
        for number, row in enumerate(lines):
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            self.line("  ".join(cells).rstrip(), "bold" if number == 0 else "")

    def console(self) -> Console:
        """Return rich's console for this output."""
        from rich.console import Console

        return Console(file=self.stream, width=self.width, markup=False, emoji=False)


def screen(stream: TextIO | None = None) -> Screen:
    """Return the screen for an output, standard output by default.

    Plain where NO_COLOR is set, TERM is dumb, the output is no terminal or cannot write UTF-8.
    """
    stream = stream or sys.stdout
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="replace")
    utf8 = (getattr(stream, "encoding", "") or "").lower().replace("-", "") in ("utf8", "utf8sig")
    wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    fancy = bool(utf8 and wanted and stream.isatty())
    if fancy and os.name == "nt":
        os.system("")  # switches the console to understand colours
    return Screen(stream, fancy, max(20, min(_columns(stream) - 1, WIDEST)))


def _columns(stream: TextIO) -> int:
    """Return the width of a terminal, COLUMNS where it is set, 100 where nothing is known."""
    asked = os.environ.get("COLUMNS", "")
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    try:
        return os.get_terminal_size(stream.fileno()).columns or WIDEST
    except (OSError, ValueError):
        return WIDEST
