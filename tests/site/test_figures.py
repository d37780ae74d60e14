"""Alternative texts reach the page, and a figure without one is reported."""

from __future__ import annotations

from typing import Any

import nbformat.v4 as notebook
import pytest

from normcourse.site.figures import alt_text

from .conftest import Build, find, text

SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 4 3"><path d="M0 0h4v3z"/></svg>'


def page(metadata: dict[str, Any], *tags: str, source: str = "figures.bell()") -> str:
    """A notebook whose one cell has drawn a figure."""
    output = notebook.new_output(
        "execute_result", {"image/svg+xml": SVG, "text/plain": "a"}, metadata=metadata,
        execution_count=1,
    )  # fmt: skip
    figure = {"name": "fig-bell", "caption": "A bell."}
    own = {"tags": list(tags), "mystnb": {"figure": figure}}
    cell = notebook.new_code_cell(source, outputs=[output], execution_count=1, metadata=own)
    cells = [notebook.new_markdown_cell("# Bells\n\n[](#fig-bell)"), cell]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    book = notebook.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    return str(notebook.writes(book))


def test_the_alt_of_the_output_is_the_alt_of_the_image(build: Build) -> None:
    metadata = {"image/svg+xml": {"alt": "A bell curve,\nhigh in the middle."}}
    built = build({}, {"index.ipynb": page(metadata)})
    assert built.complaints == ""
    (image,) = find(built.body(), "img")
    assert image.get("alt") == "A bell curve, high in the middle."
    assert "nc-figure" in image.get("class", "")


def test_a_figure_is_referred_to_by_its_number(build: Build) -> None:
    built = build({}, {"index.ipynb": page({"image/svg+xml": {"alt": "A bell."}})})
    assert text(find(built.body(), "a", href="#fig-bell", class_="internal")[0]) == "Fig. 1"


@pytest.mark.parametrize("metadata", [{}, {"image/svg+xml": {"alt": " "}}], ids=["none", "blank"])
def test_a_figure_without_alt_is_a_warning_that_names_the_cell(
    build: Build, metadata: dict[str, Any]
) -> None:
    built = build({}, {"index.ipynb": page(metadata)})
    assert "WARNING: figure without alternative text (cell 2); draw it" in built.complaints


def test_an_image_in_markdown_needs_one_too(build: Build) -> None:
    files = {"dot.svg": SVG}
    built = build({"index": "# Dots\n\n![](dot.svg)\n\n![A dot.](dot.svg)\n"}, files)
    assert built.complaints.count("figure without alternative text (dot.svg)") == 1


def test_the_code_of_a_figure_is_folded_under_words_that_say_so(build: Build) -> None:
    metadata = {"image/svg+xml": {"alt": "A bell."}}
    built = build({}, {"index.ipynb": page(metadata, "hide-input")})
    (fold,) = find(built.body(), "details", class_="nc-code-fold")
    (summary,) = find(fold, "summary")
    assert text(find(summary, "span", class_="collapsed")[0]) == "Show the code of this figure"
    assert "aria-label" not in summary.attrib
    assert "figures.bell()" in text(fold)


def test_the_line_for_nbval_is_not_shown(build: Build) -> None:
    source = "# NBVAL_CHECK_OUTPUT\nfigures.bell()"
    built = build({}, {"index.ipynb": page({"alt": "A bell."}, source=source)})
    assert "NBVAL" not in text(built.body())
    assert "figures.bell()" in text(built.body())


def test_alt_text_of_one_mime_type_is_not_that_of_another() -> None:
    assert alt_text({"image/png": {"alt": "A bell."}}, "image/svg+xml") is None
