"""The directive of the interactive figures: still picture, sentence, numbers, scripts."""

from __future__ import annotations

import json

import pytest

from normcourse.site.interactive import DATA
from normcourse.site.interactive.catalogue import CATALOGUE

from .conftest import Build, find, text


def page(name: str, *options: str, content: str = "") -> str:
    """A page with one figure."""
    lines = [f"```{{interactive}} {name}", *options, *(["", content] if content else []), "```"]
    return "# A figure\n\n" + "\n".join(lines) + "\n"


@pytest.mark.parametrize("name", CATALOGUE)
class TestEachFigure:
    def test_is_a_picture_with_words_where_scripts_do_not_run(
        self, build: Build, name: str
    ) -> None:
        built = build({"index": page(name)})
        assert built.complaints == ""
        (figure,) = find(built.body(), "figure", id=name)
        (image,) = find(figure, "img")
        assert image.get("src") == f"_static/interactive/{name}.svg"
        assert (built.outdir / image.get("src", "")).is_file()
        assert 1 <= len(image.get("alt", "").split()) <= 30
        assert text(find(figure, "p", class_="nci-without")[0]).startswith("This figure can be")
        assert text(find(figure, "figcaption")[0]).startswith("Fig. 1 ")

    def test_its_numbers_stand_in_the_page_without_the_answers(
        self, build: Build, name: str
    ) -> None:
        (script,) = find(build({"index": page(name)}).body(), "script", class_="nci-data")
        shown = json.loads("".join(script.itertext()))
        stored = json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))
        stored.pop("expected", None)
        assert shown == stored

    def test_its_script_and_style_are_loaded_there_alone(self, build: Build, name: str) -> None:
        built = build({"index": page(name), "other": "# Other\n\n[](#a-figure)\n"})
        assert f'type="module" src="_static/interactive/{name}.js' in built.html()
        assert "_static/interactive/interactive.css" in built.html()
        assert "_static/interactive" not in built.html("other")
        assert (built.outdir / "_static" / "interactive" / f"{name}.js").is_file()


def test_a_figure_with_a_name_can_be_referred_to(build: Build) -> None:
    index = page("depth", ":name: fig-deep", content="A caption, $x$.") + "\n{numref}`fig-deep`\n"
    built = build({"index": index})
    assert built.complaints == ""
    (figure,) = find(built.body(), "figure", id="fig-deep")
    assert "A caption," in text(find(figure, "figcaption")[0])
    assert text(find(built.body(), "a", href="#fig-deep", class_="internal")[0]) == "Fig. 1"


def test_an_unknown_name_is_an_error_that_lists_the_figures(build: Build) -> None:
    complaints = build({"index": page("axis")}).complaints
    assert "no figure 'axis'; there are axes-explorer, batch-composition" in complaints


def test_pictures_are_found_from_a_page_in_a_folder(build: Build) -> None:
    pages = {"index": "# Start\n\n```{toctree}\nbook/02_x\n```\n", "book/02_x": page("depth")}
    (image,) = find(build(pages).body("book/02_x"), "img")
    assert image.get("src") == "../_static/interactive/depth.svg"
