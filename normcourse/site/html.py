"""One docutils node that stands for one HTML element, so that directives compose pages freely."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from docutils import nodes

if TYPE_CHECKING:
    from sphinx.application import Sphinx

__all__ = ["Tag", "pass_through", "register"]


class Tag(nodes.General, nodes.Element):  # type: ignore[misc]
    """``<tag …>children</tag>`` in HTML; only its children in every other format.

    >>> from docutils import nodes
    >>> summary = Tag("summary", children=[nodes.Text("Hint 1")])
    >>> summary["tag"], summary.astext()
    ('summary', 'Hint 1')
    """

    def __init__(
        self,
        tag: str = "div",
        attributes: Mapping[str, str] | None = None,
        children: Iterable[nodes.Node] = (),
    ) -> None:
        super().__init__("", *children, tag=tag, html=dict(attributes or {}))

    def copy(self) -> Tag:
        """Return the element without its children (docutils calls the class with other names)."""
        twin = Tag(self["tag"], self["html"])
        twin.attributes = {**self.attributes}
        return twin


def visit_tag(translator: Any, node: Tag) -> None:
    """Open the element; ids that Sphinx knows of are written by ``starttag``."""
    attributes = dict(node["html"])
    name = attributes.pop("id", None)
    ids = {"ids": [name]} if name else {}
    translator.body.append(translator.starttag(node, node["tag"], "", **ids, **attributes))


def depart_tag(translator: Any, node: Tag) -> None:
    """Close the element; block elements end their line, so that the source stays readable."""
    end = "" if node["tag"] in {"span", "strong", "code", "a"} else "\n"
    translator.body.append(f"</{node['tag']}>{end}")


def pass_through(translator: Any, node: nodes.Element) -> None:
    """Write nothing for the element itself (formats other than HTML)."""


def register(app: Sphinx) -> None:
    """Make the node known to every builder."""
    other = (pass_through, pass_through)
    app.add_node(
        Tag, html=(visit_tag, depart_tag), latex=other, text=other, man=other, texinfo=other
    )
