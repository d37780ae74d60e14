"""Alternative texts: from the output of a figure function onto the image of the page.

A figure carries its text in the metadata of its output (``{"image/svg+xml": {"alt": …}}``);
myst-nb knows width and height there, but no ``alt``. ``AltRenderer`` is the myst-nb renderer
(``nb_render_plugin: normcourse``) that adds it. An image without one is a warning, hence an error
under ``-W``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from docutils import nodes
from myst_nb.core.render import MimeData, NbElementRenderer
from sphinx.util import logging

if TYPE_CHECKING:
    from sphinx.application import Sphinx

__all__ = ["AltRenderer", "alt_text", "register"]

logger = logging.getLogger(__name__)

FIX = (
    "draw it by a function of normcourse.figures decorated with @figure(alt=...), "
    "or write ![what it shows](file)"
)


def alt_text(metadata: dict[str, Any], mime_type: str) -> str | None:
    """Return the alternative text in the metadata of an output, wherever it is put.

    >>> alt_text({"image/svg+xml": {"alt": "Two curves."}}, "image/svg+xml")
    'Two curves.'
    >>> alt_text({"alt": "Two curves."}, "image/png")
    'Two curves.'
    """
    for place in (metadata.get(mime_type), metadata):
        if isinstance(place, dict) and isinstance(place.get("alt"), str):
            return " ".join(place["alt"].split()) or None
    return None


class AltRenderer(NbElementRenderer):  # type: ignore[misc]
    """myst-nb's own renderer, with the alternative text on images."""

    def render_image(self, data: MimeData) -> list[nodes.Element]:
        """Return the image node with ``alt`` and the class that gives it its card."""
        images: list[nodes.Element] = super().render_image(data)
        alt = alt_text(data.output_metadata, data.mime_type)
        for image in images:
            image["classes"] = [*image.get("classes", []), "nc-figure"]
            image["cell"] = (data.cell_index or 0) + 1
            if alt:
                image["alt"] = alt
        return images


def require_alt(app: Sphinx, doctree: nodes.document) -> None:
    """Warn of every image that has no alternative text."""
    for image in doctree.findall(nodes.image):
        if not str(image.get("alt", "")).strip():
            where = f"cell {image['cell']}" if "cell" in image else image.get("uri", "?")
            logger.warning(
                "figure without alternative text (%s); %s",
                where,
                FIX,
                location=image if image.line else app.env.docname,
                type="normcourse",
                subtype="alt",
            )


def register(app: Sphinx) -> None:
    """Check each page once it is read."""
    app.connect("doctree-read", require_alt)
