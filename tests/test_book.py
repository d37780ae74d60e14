"""The sources of the book: every page listed, every notebook fit to be run, stored and compared."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest

from normcourse.workshop.book import entries, sources
from normcourse.workshop.notebooks import notebooks

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = notebooks(ROOT)
IDS = [path.relative_to(ROOT).as_posix() for path in NOTEBOOKS]
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=IDS)


def code_cells(path: Path) -> list[Any]:
    """The code cells of a notebook."""
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def test_every_listed_page_has_one_source_and_is_listed_once() -> None:
    assert len(sources(ROOT)) == len(set(entries(ROOT)))


def test_every_page_of_the_book_is_listed() -> None:
    """An unlisted chapter would neither be run nor built, and nobody would notice."""
    book = ROOT / "book"
    pages = {path for ending in ("*.md", "*.ipynb") for path in book.rglob(ending)}
    pages -= set((book / "generated").iterdir())  # parts of pages
    assert sorted(path.name for path in pages - set(sources(ROOT))) == []


def test_every_chapter_with_exercises_has_solutions_of_the_same_name() -> None:
    learner = {path.name for path in (ROOT / "exercises").glob("*.ipynb")}
    authored = {path.name for path in (ROOT / "exercises" / "solutions").glob("*.ipynb")}
    assert learner == authored


def test_every_exercise_has_its_card_in_its_chapter() -> None:
    """The card stands in the chapter, and nowhere else."""
    from normcourse.checks import all_exercises

    texts = {path: path.read_text(encoding="utf-8") for path in sources(ROOT)}
    for exercise in all_exercises():
        card = re.compile(r"\{live-exercise\} " + exercise.id + r"\b")
        found = [path.stem for path, text in texts.items() if card.search(text)]
        assert found == [exercise.notebook], f"{exercise.id} is on {found or 'no page'}"


@each_notebook
def test_the_kernel_is_named_as_the_pages_need_it(path: Path) -> None:
    """Without the language, cells are not highlighted; another kernel's name is not everywhere."""
    kernel = nbformat.read(path, as_version=4).metadata.get("kernelspec", {})
    assert (kernel.get("name"), kernel.get("language")) == ("python3", "python")


@each_notebook
def test_kept_outputs_are_those_that_are_compared(path: Path) -> None:
    """A kept output that nobody compares grows old; a comparison needs something kept."""
    for number, cell in enumerate(code_cells(path), start=1):
        compared = "# NBVAL_CHECK_OUTPUT" in cell.source.splitlines()
        kept = "keep_output" in cell.metadata.get("tags", [])
        assert (compared, kept, bool(cell.outputs)) in {
            (True, True, True),
            (False, False, False),
        }, f"code cell {number}: {cell.source.splitlines()[0]}"


@each_notebook
def test_no_cell_is_skipped_by_the_tests(path: Path) -> None:
    """The pages show what the tests executed; a skipped cell would be shown without outputs."""
    assert [c.source for c in code_cells(path) if "NBVAL_SKIP" in c.source] == []
