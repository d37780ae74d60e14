"""Numbers of chapters, the opening of a page, buttons that need an address."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from normcourse.site.pages import name_toggles, repository_buttons

from .conftest import EXERCISE, Build, chapter, find, text

CHAPTER = "# Means\n\nWhat is a mean?\n\n*A sum, divided.*\n\n*Before you look.* More.\n\n"
TOC = "# Start\n\n```{toctree}\n:numbered: 1\n07_means\n```\n"


def test_a_chapter_is_numbered_by_its_file(build: Build) -> None:
    """Chapter 07 is number 7 although it is the first in the table of contents."""
    pages = {
        "index": TOC + "\n[](#mean_of)\n",
        "07_means": "(terms)=\n"
        + CHAPTER
        + "[](#eq)\n\n$$a = b$$ (eq)\n\n```{live-exercise} mean_of\n```\n",
    }
    built = build(pages, {"data/means.json": chapter(EXERCISE)}, math_numfig=True)
    assert built.complaints == ""
    body = built.body("07_means")
    assert text(find(body, "span", class_="section-number")[0]) == "7."
    assert text(find(body, "span", class_="caption-number")[0]) == "Exercise 7.1"
    assert text(find(body, "span", class_="eqno")[0]).startswith("(7.1)")
    assert text(find(built.body(), "a", href="07_means.html#mean_of")[0]) == "Exercise 7.1"


def test_an_exercise_on_a_page_of_its_own_is_numbered_within_its_chapter(build: Build) -> None:
    pages = {
        "index": "# Start\n\n[](#mean_of)\n\n```{toctree}\nexercises/07_means\n```\n",
        "exercises/07_means": "(terms)=\n# Means\n\n```{live-exercise} mean_of\n```\n",
    }
    built = build(pages, {"data/means.json": chapter(EXERCISE)})
    assert built.complaints == ""
    page = built.body("exercises/07_means")
    assert text(find(page, "span", class_="caption-number")[0]) == "Exercise 7.1"
    assert find(page, "span", class_="section-number") == []
    assert (
        text(find(built.body(), "a", href="exercises/07_means.html#mean_of")[0]) == "Exercise 7.1"
    )


def test_question_and_summary_are_marked_and_nothing_else(build: Build) -> None:
    built = build({"index": CHAPTER})
    marked = {
        name: [text(node) for node in find(built.body(), "p", class_=name)]
        for name in ("nc-question-asked", "nc-summary")
    }
    assert marked == {"nc-question-asked": ["What is a mean?"], "nc-summary": ["A sum, divided."]}


def test_the_summary_describes_the_page_to_search_engines(build: Build) -> None:
    built = build({"index": CHAPTER.replace("A sum", "A sum &"), "other": "# No summary\n"})
    assert '<meta name="description" content="A sum &amp;, divided.">' in built.html()
    assert 'name="description"' not in built.html("other")


def test_a_page_without_summary_is_left_alone(build: Build) -> None:
    assert "nc-summary" not in build({"index": "# Means\n\nOne.\n\n*Two.* And more.\n"}).html()


@pytest.mark.parametrize("address", ["", "https://example.org/someone/course"])
def test_buttons_need_the_address_of_the_repository(address: str) -> None:
    options: dict[str, Any] = {"repository_url": address, "launch_buttons": {"colab_url": "x"}}
    config = SimpleNamespace(html_theme="sphinx_book_theme", html_theme_options=options)
    repository_buttons(SimpleNamespace(), config)  # type: ignore[arg-type]
    names = ("use_repository_button", "use_issues_button", "use_edit_page_button")
    assert [options[name] for name in names] == [bool(address)] * 3
    assert bool(options["launch_buttons"]) == bool(address)
    assert ("repository_url" in options) == bool(address)


def test_the_front_door_leads_to_a_root_elsewhere(build: Build) -> None:
    built = build({"start": "# Means & ends\n"}, root_doc="start")
    door = built.html("index")
    assert '<a href="start.html">Means &amp; ends</a>' in door
    assert 'content="0; url=start.html"' in door


def test_each_toggle_of_the_sidebar_is_named_by_the_page_before_it() -> None:
    """A page without pages below it does not lend its name; markup in a title is left out."""
    listed = (
        '<a href="a">Plain</a></li><li><a href="b">The <code>x &amp; y</code></a>'
        '<details open="open"><summary><i></i></summary>'
    )
    assert name_toggles(listed) == listed.replace(
        "<summary>", '<summary aria-label="Pages of: The x &amp; y">'
    )
