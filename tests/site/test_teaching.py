"""The page for instructors: what depends on what, minutes added up, listings that run."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import nbformat.v4 as notebook
import pytest

from normcourse.checks.catalogue import FOLDER
from normcourse.site import teaching
from normcourse.site.exercise_data import load_chapters
from normcourse.terminal.proof import by_place, verdict_on

from .conftest import EXERCISE, Build, chapter, find, text

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "book" / "teaching.md").read_text(encoding="utf-8")
LISTINGS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.mark.parametrize(("opening", "numbers"), [
    ("You need chapters 02, 06 and 07; chapter 10 introduces more.", (2, 6, 7)),
    ("Some words. You need [chapter 02](02_batch_norm.ipynb). The nets are of 2026.", (2,)),
    ("You need backpropagation in outline; allow 45 minutes.", ()),
    ("You need chapter 07.", (7,)),
    ("Nothing is said.", ()),
])  # fmt: skip
def test_needs_are_read_from_the_opening(opening: str, numbers: tuple[int, ...]) -> None:
    assert teaching.needs(opening) == numbers


def test_a_chapter_needs_earlier_ones_and_every_exercise_has_its_chapter() -> None:
    written = {int(p.name[:2]) for p in (ROOT / "book").glob("[0-9][0-9]_*.ipynb")}
    assert {int(one.notebook[:2]) for one in load_chapters()} == written
    for path in sorted((ROOT / "book").glob("[0-9][0-9]_*.ipynb")):
        opening = teaching._opening(path)
        assert all(number < int(path.name[:2]) for number in teaching.needs(opening)), path.name


def _needs() -> dict[int, tuple[int, ...]]:
    pages = sorted((ROOT / "book").glob("[0-9][0-9]_*.ipynb"))
    return {int(page.name[:2]): teaching.needs(teaching._opening(page)) for page in pages}


def _way(number: int, needs: dict[int, tuple[int, ...]]) -> set[int]:
    return {number}.union(*(_way(before, needs) for before in needs[number]))


def test_ways_and_gaps_are_those_of_the_openings() -> None:
    needs = _needs()
    for place, end in (("Transformers", 14), ("convolutional nets", 13)):
        (way,) = re.findall(rf"to {place} is ([\d, ]+)[;.]", PAGE)
        assert way == ", ".join(f"{number:02}" for number in sorted(_way(end, needs)))
    built_on = {number for before in needs.values() for number in before}
    (ends,) = re.findall(r"Nothing builds on ([\d, and]+):", PAGE)
    assert {int(number) for number in re.findall(r"\d+", ends)} == set(needs) - built_on - {15}


@pytest.mark.parametrize("schedule", ["Four weeks", "A term"])
def test_a_schedule_has_what_its_chapters_need(schedule: str) -> None:
    part = PAGE.split(f"## {schedule}\n")[1].split("\n## ")[0]
    met: set[int] = set()
    needs = _needs()
    for row in re.findall(r"^\| [\d, ]+ \|([^|]*)\|", part, flags=re.MULTILINE):
        met |= {int(number) for number in re.findall(r"\{chapter\}`(\d+)`", row)}
        assert all(set(needs[number]) <= met for number in met), row
    assert met


def test_the_table_follows_the_chapters(build: Build) -> None:
    cells = [notebook.new_markdown_cell("# Sums\n\nYou need chapter 02; allow an hour.\n\n## One")]
    built = build(
        {"index": "# Home\n\n```{chapter-needs}\n```\n\n```{toctree}\n03_sums\n```\n"},
        {
            "03_sums.ipynb": str(notebook.writes(notebook.new_notebook(cells=cells))),
            "data/means.json": chapter(EXERCISE, notebook="15_means"),
        },
    )
    rows = [[text(cell) for cell in find(row, "td")] for row in find(built.body(), "tr")][1:]
    assert rows[0] == ["03 Sums", "02", "0", "0"]
    assert rows[1][1:] == ["–", "1", "1"]


def test_minutes_are_added_up_and_ids_linked(build: Build) -> None:
    other = {**EXERCISE, "id": "sum_of", "title": "A sum", "minutes": 6}
    page = "# Means\n\n{solve}`mean_of sum_of`\n\n```{live-exercise} mean_of\n```\n"
    built = build({"index": page}, {"data/means.json": chapter(EXERCISE, other)})
    line = find(built.body(), "p")[0]
    assert text(line) == "mean_of, sum_of (7 min)"
    assert [a.get("href") for a in find(line, "a")] == ["#mean_of"]


def test_an_unknown_exercise_is_an_error(build: Build) -> None:
    built = build({"index": "# A\n\n{solve}`mean`\n"}, {"data/means.json": chapter(EXERCISE)})
    assert "solve: exercise 'mean' is in no file" in built.complaints


class TestListings:
    def test_the_exercise_of_the_page_is_a_whole_one(self) -> None:
        scope: dict[str, Any] = {}
        exec(LISTINGS[0], scope)
        (exercise,) = scope["EXERCISES"]
        assert verdict_on(exercise, scope["_reference"]).passed
        for mistake in exercise.mistakes:
            verdict = verdict_on(exercise, by_place(exercise, exercise.wrong_answer(mistake)))
            assert verdict.mistakes == (mistake.id,)

    def test_solutions_are_held_back_and_the_site_still_reads_them(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        data = tmp_path / "normcourse" / "checks" / "data"
        shutil.copytree(FOLDER, data)
        monkeypatch.chdir(tmp_path)
        exec(LISTINGS[1], {})
        kept = capsys.readouterr().out.strip()
        assert f"```text\n{kept}\n```" in PAGE
        shown = {e.id: e.solution for one in load_chapters(data) for e in one.exercises}
        whole = {e.id for one in load_chapters() for e in one.exercises}
        assert set(shown) == whole
        open_ = {name for name, code in shown.items() if code != "# Shown after the deadline."}
        assert open_ == set(kept.removeprefix("kept: ").split(", "))

    def test_what_is_handed_out_has_no_solution(self) -> None:
        for path in (ROOT / "exercises").glob("*.ipynb"):
            cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
            assert "BEGIN SOLUTION" not in str(cells), path.name
