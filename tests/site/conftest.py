"""Tiny Sphinx projects: a page, its data, what Sphinx wrote and what it complained of."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from docutils.nodes import document
from sphinx.application import Sphinx
from sphinx.util.console import strip_colors
from sphinx.util.docutils import docutils_namespace, patch_docutils


@dataclass(frozen=True)
class Built:
    """A built project."""

    outdir: Path
    complaints: str
    doctree: Callable[[str], document]

    def html(self, page: str = "index") -> str:
        """The page as written."""
        return (self.outdir / f"{page}.html").read_text(encoding="utf-8")

    def body(self, page: str = "index") -> ElementTree.Element:
        """The page's body as a tree, which also proves that its elements are well nested."""
        text = self.html(page)
        start, end = text.index("<main>"), text.index("</main>")
        return ElementTree.fromstring(text[start:end] + "</main>")


TEMPLATE = '{% extends "layout.html" %}{% block body %}<main>{{ body }}</main>{% endblock %}'

Build = Callable[..., Built]


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Return a function that builds pages (name → Markdown) with the extension."""

    def run(pages: dict[str, str], files: dict[str, str] | None = None, **config: Any) -> Built:
        for name, text in {**pages, **(files or {}), "templates/page.html": TEMPLATE}.items():
            path = tmp_path / "book" / (name if "." in name else f"{name}.md")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        settings = {
            "extensions": ["myst_nb", "sphinx_exercise", "normcourse.site"],
            "html_theme": "basic",
            "templates_path": [str(tmp_path / "book" / "templates")],
            "numfig": True,
            "nb_execution_mode": "off",
            "nb_render_plugin": "normcourse",
            "nb_code_prompt_show": "Show the code of this figure",
            "nb_code_prompt_hide": "Hide the code of this figure",
            "myst_enable_extensions": ["dollarmath"],
            "normcourse_exercise_data": "data",
            "normcourse_quiz_folder": "quiz",
            "nitpicky": True,
            **config,
        }
        return _build(tmp_path, settings)

    return run


def _build(folder: Path, settings: dict[str, Any]) -> Built:
    complaints = StringIO()
    source, out = folder / "book", folder / "_build" / "html"
    with warnings.catch_warnings(), patch_docutils(), docutils_namespace():
        warnings.simplefilter("ignore")  # those of Sphinx itself, not those of the page
        app = Sphinx(
            source, None, out, folder / "_build" / "doctrees", "html", settings,
            status=None, warning=complaints, freshenv=True,
        )  # fmt: skip
        app.build(force_all=True)
    return Built(out, strip_colors(complaints.getvalue()), app.env.get_doctree)


EXERCISE: dict[str, Any] = {
    "id": "mean_of",
    "title": "A mean",
    "statement": "Return the **mean** of `x`:\n\n$$\\mu = \\frac1N \\sum_i x_i$$",
    "stub": "def mean_of(x):\n    raise NotImplementedError",
    "solution": "def mean_of(x):\n    return x.mean()",
    "reason": "The mean is the sum divided by $N$.",
    "section": "Means",
    "minutes": 1,
    "difficulty": 2,
    "hints": ["What is a mean?", "See [the terms](#terms).", "Almost: `x.sum() / …`"],
    "insight": "It moves with every value.",
    "runtime": "numpy",
    "version": 3,
}


def chapter(*exercises: dict[str, Any], **other: Any) -> str:
    """The package data of one chapter, as JSON."""
    head = {"schema": 1, "chapter": "means", "notebook": "02_means", "title": "Means"}
    return json.dumps({**head, "exercises": list(exercises), **other})


def find(tree: ElementTree.Element, tag: str, **attributes: str) -> list[ElementTree.Element]:
    """The elements with that tag, class names (``class_``) and data attributes."""
    wanted = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}

    def fits(element: ElementTree.Element) -> bool:
        return all(
            value in element.get(name, "").split()
            if name == "class"
            else element.get(name) == value
            for name, value in wanted.items()
        )

    return [element for element in tree.iter(tag) if fits(element)]


def text(element: ElementTree.Element) -> str:
    """All text of an element, with single spaces."""
    return " ".join("".join(element.itertext()).split())
