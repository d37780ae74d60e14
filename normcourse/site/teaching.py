"""For the page of instructors: ``{chapter-needs}``, and ``{solve}`id other_id```.

The table says which chapters a chapter builds on, from the sentence "You need chapters …" that
opens it. The role names exercises with links to their cards and adds up their minutes.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from docutils import nodes
from docutils.nodes import Node, system_message
from sphinx.util.docutils import SphinxDirective, SphinxRole

from normcourse.site.chapter_links import chapters
from normcourse.site.exercise_data import DataError, find_exercise, load_chapters
from normcourse.site.live_exercise import ExerciseLink, folder_of
from normcourse.site.markdown import blocks
from normcourse.site.numbering import chapter_number

if TYPE_CHECKING:
    from sphinx.application import Sphinx

__all__ = ["ChapterNeeds", "SolveRole", "needs", "register"]


def needs(opening: str) -> tuple[int, ...]:
    """Return the chapters that the opening of a chapter says you need.

    Example:
        >>> needs("Its question? You need chapters 02, 06 and 07; chapter 10 helps.")
        (2, 6, 7)
        >>> needs("You need [chapter 02](02_batch_norm.ipynb). Chapter 03 follows.")
        (2,)
        >>> needs("You need backpropagation in outline.")
        ()
    """
    sentence = re.search(r"You need (.*?)(?:;|\.(?=\s|$))", opening, flags=re.DOTALL)
    named = re.findall(r"(?<!\d)(\d\d)(?![\d_])", sentence[1]) if sentence else []
    return tuple(sorted({int(number) for number in named}))


def _opening(notebook: Path) -> str:
    """Return the Markdown of a notebook before its first section."""
    text = ""
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            text += source.partition("\n## ")[0] + "\n\n"
            if re.search(r"^## ", source, flags=re.MULTILINE):
                break
    return text


class ChapterNeeds(SphinxDirective):
    """The table of what depends on what, with the exercises of each chapter."""

    has_content = False

    def run(self) -> list[nodes.Node]:
        """Return a row per chapter."""
        self.env.note_reread()  # chapters change without this page
        pages = chapters(self.env)
        exercises = {
            chapter_number(one.notebook) or 0: one.exercises
            for one in load_chapters(folder_of(self))
        }
        lines = ["| chapter | builds on | exercises | their minutes |", "|---|---|---:|---:|"]
        for number in sorted({*pages, *exercises}):
            page = pages.get(number)
            known = needs(_opening(Path(self.env.doc2path(page)))) if page else ()
            before = ", ".join(f"{{chapter}}`{n:02} <{n}>`" for n in known) or "–"
            own = exercises.get(number, ())
            minutes = sum(exercise.minutes for exercise in own)
            lines.append(f"| {{chapter}}`{number}` | {before} | {len(own)} | {minutes} |")
        return blocks(self, "\n".join(lines))


class SolveRole(SphinxRole):
    """Exercises by their ids, with links to their cards, and the minutes of all of them."""

    def run(self) -> tuple[list[Node], list[system_message]]:
        """Return the ids, to be linked, and the sum."""
        found: list[Node] = []
        minutes = 0
        for name in self.text.split():
            try:
                _, exercise = find_exercise(name, folder_of(self))
            except DataError as error:
                message = self.inliner.reporter.error(f"solve: {error}", line=self.lineno)
                return [nodes.problematic(self.rawtext, self.rawtext)], [message]
            minutes += exercise.minutes
            found += [ExerciseLink("", name, exercise=name), nodes.Text(", ")]
        return [*found[:-1], nodes.Text(f" ({minutes} min)")], []


def register(app: Sphinx) -> None:
    """Add the directive and the role."""
    app.add_directive("chapter-needs", ChapterNeeds)
    app.add_role("solve", SolveRole())
