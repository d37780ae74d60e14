"""What is served: the Sphinx extension of the book.

It adds the directives ``live-exercise``, ``exercise-list``, ``try-it``, ``quiz``, ``api``,
``methods``, ``figure-index``, ``cheat-sheet``, ``chapter-needs`` and ``npm-packages`` and the roles
``chapter`` and ``solve``, puts alternative texts on figures, numbers chapters by their file names
and typesets formulas. Python for the browser and the fonts of text and formulas lie beside the
pages, so that no page asks anything of another host, and a service worker keeps them for times
without a network. Nothing here is imported by ``import normcourse``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

__all__ = ["setup"]

ASSETS = Path(__file__).parent / "assets"


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives, nodes and handlers of the book with Sphinx."""
    from normcourse import __version__
    from normcourse.site import (
        api,
        bundle,
        chapter_links,
        cheat_sheet,
        evidence,
        extras,
        figure_index,
        figures,
        formulas,
        html,
        interactive,
        live,
        live_exercise,
        numbering,
        offline,
        pages,
        progress_page,
        quiz,
        teaching,
        third_party,
        try_it,
        vendor,
    )

    cells = (live_exercise, try_it, quiz, progress_page, interactive)
    around = (figures, numbering, vendor, formulas, live, pages, extras, bundle, offline)
    lists = (figure_index, third_party, chapter_links, cheat_sheet, teaching)
    for part in (api, html, *cells, *lists, evidence, *around):
        part.register(app)
    return {"version": __version__, "parallel_read_safe": True, "parallel_write_safe": True}
