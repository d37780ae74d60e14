"""The card of an exercise, its references, the list of all, and data that is not as it must be."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .conftest import EXERCISE, Build, chapter, find, text

PAGE = (
    "(terms)=\n# Means\n\nDo [](#mean_of) or {ref}`mean_of`.\n\n```{live-exercise} mean_of\n```\n"
)
DATA = {"data/means.json": chapter(EXERCISE)}


def test_the_card_holds_all_parts_in_the_order_of_work(build: Build) -> None:
    built = build({"index": PAGE}, DATA)
    assert built.complaints == ""
    (card,) = find(built.body(), "section", class_="nc-exercise")
    assert card.get("id") == "mean_of"
    data = {
        name: card.get(f"data-{name}") for name in ("exercise", "chapter", "runtime", "version")
    }
    assert data == {"exercise": "mean_of", "chapter": "means", "runtime": "numpy", "version": "3"}
    parts = [part.get("data-part") for part in card.iter() if part.get("data-part")]
    order = ["statement", "stub", "check", "hint", "hint", "hint", "solution", "insight"]
    assert parts == order


def test_the_card_is_named_by_its_heading(build: Build) -> None:
    card = find(build({"index": PAGE}, DATA).body(), "section", class_="nc-exercise")[0]
    (heading,) = find(card, "h2", id=card.get("aria-labelledby", ""))
    assert text(heading).startswith("Exercise 1 A mean")
    assert [text(fact) for fact in find(card, "li")] == ["1 minute", "medium", "NumPy"]


def test_statement_is_markdown_with_mathematics(build: Build) -> None:
    card = find(build({"index": PAGE}, DATA).body(), "section", class_="nc-exercise")[0]
    (statement,) = find(card, "div", data_part="statement")
    assert [text(strong) for strong in find(statement, "strong")] == ["mean"]
    assert "\\frac1N" in text(find(statement, "div", class_="math")[0])


def test_hints_open_one_after_the_other(build: Build) -> None:
    """Each hint lies inside the one before it, closed."""
    card = find(build({"index": PAGE}, DATA).body(), "section", class_="nc-exercise")[0]
    hints = find(card, "details", data_part="hint")
    assert [len(find(hint, "details")) for hint in hints] == [3, 2, 1]
    assert not any("open" in fold.attrib for fold in find(card, "details"))
    assert text(find(hints[0], "summary")[0]) == "Hint 1 of 3"


def test_the_insight_comes_only_with_the_solution(build: Build) -> None:
    card = find(build({"index": PAGE}, DATA).body(), "section", class_="nc-exercise")[0]
    (solution,) = find(card, "details", data_part="solution")
    assert find(solution, "div", data_part="insight")
    outside = text(card).replace(text(solution), "")
    assert EXERCISE["insight"] not in outside
    assert "x.mean()" not in outside


def test_how_to_check_names_function_and_file(build: Build) -> None:
    card = find(build({"index": PAGE}, DATA).body(), "section", class_="nc-exercise")[0]
    (how,) = find(card, "dl", data_part="check")
    assert "check(mean_of)" in text(how)
    assert "normcourse check 02_means.ipynb mean_of" in text(how)
    assert "Colab" not in text(how)


def test_colab_appears_when_both_addresses_are_set(build: Build) -> None:
    options = {
        "repository_url": "https://example.org/someone/course",
        "launch_buttons": {"colab_url": "https://colab.example.org"},
    }
    built = build({"index": PAGE}, DATA, html_theme_options=options)
    links = [link.get("href") for link in find(built.body(), "a", class_="external")]
    address = "https://colab.example.org/github/someone/course/blob/main/exercises/02_means.ipynb"
    assert links == [address]


def test_references_read_as_numbers(build: Build) -> None:
    built = build({"index": PAGE}, DATA)
    links = [text(link) for link in find(built.body(), "a", href="#mean_of", class_="internal")]
    assert links == ["Exercise 1", "Exercise 1"]


def test_references_from_another_page_read_as_numbers(build: Build) -> None:
    pages = {
        "index": "# Start\n\n```{toctree}\nother\n```\n\n[](#mean_of), {ref}`mean_of`, "
        "[*mine*](#mean_of)\n",
        "other": PAGE,
    }
    built = build(pages, DATA)
    assert built.complaints == ""
    links = find(built.body(), "a", href="other.html#mean_of")
    assert [text(link) for link in links] == ["Exercise 1", "Exercise 1", "mine"]


def test_the_list_counts_minutes_and_links_to_the_card(build: Build) -> None:
    pages = {
        "index": "# Start\n\n```{toctree}\nother\n```\n\n```{exercise-list}\n```\n",
        "other": PAGE,
    }
    built = build(pages, DATA)
    assert built.complaints == ""
    assert "Means# 1 exercise, about 1 minute." in text(built.body()).replace("\xb6", "#")
    (link,) = find(find(built.body(), "table")[0], "a")
    assert (link.get("href"), text(link)) == ("other.html#mean_of", "A mean")


def test_the_list_names_an_exercise_that_no_page_shows(build: Build) -> None:
    built = build({"index": "# All\n\n(terms)=\n\n```{exercise-list}\n```\n"}, DATA)
    assert built.complaints == ""
    (table,) = find(built.body(), "table")
    assert text(table).endswith("A mean 1 min medium NumPy")
    assert find(table, "a") == []


def broken(**change: Any) -> str:
    return chapter({**EXERCISE, **change})


BROKEN = {
    "unknown-id": (chapter({**EXERCISE, "id": "median_of"}), "known: median_of"),
    "not-json": ("{", "not JSON"),
    "not-an-object": ("[]", "schema is 'list', expected 1"),
    "schema": (chapter(EXERCISE, schema=2), "schema is 2, expected 1"),
    "no-exercises": (json.dumps({"schema": 1}), "'exercises' is missing or not a list"),
    "no-title": (broken(title=""), "'title' is nothing, expected a str"),
    "two-hints": (broken(hints=["one", "two"]), "got 2 hints, expected three texts"),
    "empty-hint": (broken(hints=["one", " ", "three"]), "expected three texts"),
    "minutes-as-text": (broken(minutes="5"), "'minutes' is '5', expected a int"),
    "runtime": (broken(runtime="jax"), "runtime is 'jax', expected one of"),
    "id-no-function": (broken(id="mean of"), "the id must be the name of the function"),
    "twice": (chapter(EXERCISE, EXERCISE), "an id belongs to one chapter"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_data_is_one_clear_error(build: Build, name: str) -> None:
    data, complaint = BROKEN[name]
    built = build(
        {"index": "# Means\n\n```{live-exercise} mean_of\n```\n"}, {"data/means.json": data}
    )
    assert complaint in built.complaints
    assert "index.md:3: ERROR: live-exercise: " in built.complaints
    assert "data" in built.complaints
    assert built.complaints.count("ERROR") == 1


def test_an_empty_list_says_what_to_run(build: Build) -> None:
    built = build({"index": "# All\n\n```{exercise-list}\n```\n"})
    assert "run `make exercises`" in built.complaints
