"""``{figure-index}``: every figure of the chapters with its number, caption and picture.

The list is made when all pages have been read, from what the pages hold: a chapter that joins the
book brings its figures along. Links, numbers and pictures are those of the chapters.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

from docutils import nodes
from sphinx import addnodes
from sphinx.domains.std import StandardDomain
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import make_refnode

from normcourse.site.chapter_links import chapters
from normcourse.site.html import Tag

if TYPE_CHECKING:
    from sphinx.application import Sphinx

__all__ = ["FigureIndex", "register"]

NONE_YET = "No chapter with figures has been built."


class FigurePlace(nodes.General, nodes.Element):  # type: ignore[misc]
    """Where the list of a chapter will stand; it knows the page of the chapter."""


class FigureIndex(SphinxDirective):
    """The figures of all chapters, a section for each."""

    has_content = False

    def run(self) -> list[nodes.Node]:
        """Return a section per chapter; its list is filled in when all pages are read."""
        self.env.note_reread()  # chapters change without this page
        sections = [self._section(*chapter) for chapter in chapters(self.env).items()]
        return sections or [nodes.paragraph("", NONE_YET)]

    def _section(self, number: int, page: str) -> nodes.section:
        name = f"figures-{number:02}"
        section = nodes.section(ids=[name], names=[name])
        title = nodes.title("", f"Figures of chapter {number}")
        section += [title, FigurePlace(page=page, number=number)]
        self.state.document.note_explicit_target(section, section)
        return section


class FillFigures(SphinxPostTransform):
    """Put titles, pictures and captions into their places."""

    default_priority = 7  # before references and images are looked up

    def run(self, **kwargs: Any) -> None:
        """Replace each place; a chapter without figures (as in a light build) says so."""
        for place in list(self.document.findall(FigurePlace)):
            page = place["page"]
            chapter = nodes.inline("", self.env.titles[page].astext())
            link = make_refnode(self.app.builder, self.env.docname, page, "", chapter)
            entries = list(self._entries(page))
            told = "." if entries else ": its figures are not part of this build."
            line = nodes.paragraph("", "", link, nodes.Text(told))
            cards = [Tag("ul", {"class": "nc-figure-index"}, entries)] if entries else []
            place.replace_self([line, *cards])

    def _entries(self, page: str) -> Iterator[Tag]:
        domain = cast(StandardDomain, self.env.get_domain("std"))
        for figure in self.env.get_doctree(page).findall(nodes.figure):
            image, caption = self._image(figure), figure.next_node(nodes.caption)
            if image is None or caption is None or not figure["ids"]:
                continue
            number = domain.get_fignumber(self.env, self.app.builder, "figure", page, figure)
            name = " ".join(("Figure", ".".join(map(str, number or ())))).strip()
            name += ", to play with" if "figure" in figure else ""
            yield self._entry(page, figure["ids"][0], name, image, caption)

    def _image(self, figure: nodes.figure) -> nodes.Element | None:
        """Return a copy of the picture; of an interactive figure, of the one that stands still."""
        image = figure.next_node(nodes.image)
        if image is not None:
            small = image.deepcopy()
            small["loading"] = "lazy"  # a page of a hundred pictures asks for those that are seen
            return cast(nodes.Element, small)
        for still in figure.findall(Tag):
            if still["tag"] == "img":
                up = "../" * self.env.docname.count("/")
                source = up + still["html"]["src"].replace("../", "")
                return Tag("img", {**still["html"], "src": source})
        return None

    def _entry(
        self, page: str, label: str, name: str, image: nodes.Element, caption: nodes.caption
    ) -> Tag:
        here = self.env.docname
        inside = [image, nodes.strong("", name)]
        link = make_refnode(self.app.builder, here, page, label, inside)
        words = Tag("p", children=[node.deepcopy() for node in caption.children])
        for reference in words.findall(addnodes.pending_xref):
            reference["refdoc"] = here
        if any(words.findall(nodes.math)):
            self.env.get_domain("math").data["has_equations"][here] = True
        return Tag("li", children=[nodes.inline("", "", link), words])


def register(app: Sphinx) -> None:
    """Add the directive and the transform."""
    app.add_node(FigurePlace)
    app.add_post_transform(FillFigures)
    app.add_directive("figure-index", FigureIndex)
