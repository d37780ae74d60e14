"""Markdown of data files (statements, hints, options) into docutils nodes of the page."""

from __future__ import annotations

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

__all__ = ["blocks", "inline"]


def blocks(directive: SphinxDirective, text: str) -> list[nodes.Node]:
    """Parse ``text`` as the directive's own page would: mathematics, links and citations work."""
    source, _ = directive.get_source_info()
    parent = nodes.Element()
    directive.state.nested_parse(
        StringList(text.splitlines(), source), directive.content_offset, parent
    )
    return list(parent.children)


def inline(directive: SphinxDirective, text: str) -> list[nodes.Node]:
    """Parse ``text`` and return what its one paragraph holds.

    Raises:
        ValueError: the text is not one paragraph (a list, a code block, several paragraphs).
    """
    parsed = blocks(directive, text)
    if len(parsed) != 1 or not isinstance(parsed[0], nodes.paragraph):
        raise ValueError(f"must be one paragraph, got {len(parsed)} blocks: {text!r}")
    return list(parsed[0].children)
