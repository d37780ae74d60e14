"""The filter of the evidence page: its script and style, on that page alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

__all__ = ["register"]

PAGE = "book/evidence"


def add_filter(app: Sphinx, name: str, template: str, context: Any, doctree: Any) -> None:
    """Add the two files to the page; the table is whole without them."""
    if name == PAGE:
        app.add_css_file("evidence.css")
        app.add_js_file("evidence.js", type="module")


def register(app: Sphinx) -> None:
    """Connect the handler."""
    app.connect("html-page-context", add_filter)
