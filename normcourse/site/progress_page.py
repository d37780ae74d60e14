"""``{progress-overview}``: the place where a page shows how far its reader is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from normcourse.site.html import Tag

if TYPE_CHECKING:
    from sphinx.application import Sphinx

__all__ = ["ProgressOverview", "register"]


class ProgressOverview(SphinxDirective):
    """Filled by a script; what stands in it is for readers without one."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Return the place with the directive's text inside."""
        place = Tag("div", {"class": "nc-overview", "data-progress-overview": ""})
        self.state.nested_parse(self.content, self.content_offset, place)
        return [place]


def register(app: Sphinx) -> None:
    """Add the directive."""
    app.add_directive("progress-overview", ProgressOverview)
