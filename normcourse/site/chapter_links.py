"""``{chapter}`11```: a chapter by its number, a link where the book has its page.

The role writes number and title of the chapter (or its own text: ``{chapter}`the dial <11>```).
Without a page, as in a course of one's own that has exercises only, the name stays plain text and
the title is that of the exercises.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from docutils import nodes
from docutils.nodes import Node, system_message
from sphinx.environment import BuildEnvironment
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.docutils import ReferenceRole
from sphinx.util.nodes import make_refnode

from normcourse.site.exercise_data import DataError, load_chapters
from normcourse.site.numbering import chapter_number

if TYPE_CHECKING:
    from sphinx.application import Sphinx

__all__ = ["ChapterRole", "chapters", "register"]


def chapters(env: BuildEnvironment) -> dict[int, str]:
    """Return the pages that are chapters, by number; lists of exercises have numbers too."""
    pages = {chapter_number(page) or 0: page for page in env.found_docs if _is_notebook(env, page)}
    return {number: pages[number] for number in sorted(pages) if number}


def _is_notebook(env: BuildEnvironment, page: str) -> bool:
    return str(env.doc2path(page)).endswith(".ipynb")


def _titles() -> dict[int, str]:
    """Return the titles of chapters as their exercises name them."""
    try:
        known = load_chapters()
    except DataError:
        return {}
    found = {}
    for chapter in known:
        title = re.sub(r"^.*?: ", "", chapter.title)
        found[chapter_number(chapter.notebook) or 0] = title[:1].upper() + title[1:]
    return found


class ChapterName(nodes.Inline, nodes.TextElement):  # type: ignore[misc]
    """A chapter that text names; a link if there is a page."""


class ChapterRole(ReferenceRole):
    """The role; its target is the number of a chapter."""

    def run(self) -> tuple[list[Node], list[system_message]]:
        """Return the name, to be linked when all pages are known."""
        if not self.target.isdecimal() or not 1 <= int(self.target) <= 99:
            text = f"chapter: expected a number such as 11, got {self.target!r}"
            message = self.inliner.reporter.error(text, line=self.lineno)
            return [nodes.problematic(self.rawtext, self.rawtext)], [message]
        self.env.note_reread()  # the chapter may get a page later
        words = self.title if self.has_explicit_title else ""
        return [ChapterName("", words, number=int(self.target), words=words)], []


class LinkChapters(SphinxPostTransform):
    """Write titles and links."""

    default_priority = 8

    def run(self, **kwargs: Any) -> None:
        """Replace each name; a chapter without a page stays plain text."""
        places = list(self.document.findall(ChapterName))
        if not places:
            return
        pages, titles = chapters(self.env), _titles()
        for place in places:
            number = place["number"]
            page = pages.get(number, "")
            title = self.env.titles[page].astext() if page else titles.get(number, "")
            text = nodes.inline("", place["words"] or f"{number:02} {title}".strip())
            link = make_refnode(self.app.builder, self.env.docname, page, "", text)
            place.replace_self(link if page else text)


def register(app: Sphinx) -> None:
    """Add the role and the transform."""
    app.add_node(ChapterName)
    app.add_post_transform(LinkChapters)
    app.add_role("chapter", ChapterRole())
