"""The rhythm that every chapter keeps, and that its parts know of one another."""

from __future__ import annotations

import json
import re
import statistics
from pathlib import Path

import nbformat
import pytest

from normcourse.site.quiz_data import load_quiz

_ROOT = Path(__file__).parents[1]
_BOOK = _ROOT / "book"
_CHAPTERS = sorted(path.stem for path in _BOOK.glob("[0-9][0-9]_*.ipynb"))
_FENCE = re.compile(r"^\s*(`{3,}|:).*$", re.MULTILINE)  # directives and their options
_MATH = re.compile(r"\$\$.*?\$\$(\s*\([a-z-]+\))?", re.DOTALL)


class Chapter:
    """A chapter's notebook, taken apart."""

    def __init__(self, name: str) -> None:
        self.name = name
        cells = nbformat.read(_BOOK / f"{name}.ipynb", as_version=4).cells
        self.markdown = [cell.source for cell in cells if cell.cell_type == "markdown"]
        self.code = [cell for cell in cells if cell.cell_type == "code"]
        self.text = "\n\n".join(self.markdown)
        self.headings = re.findall(r"^## (.+)$", self.text, flags=re.MULTILINE)
        prose = _MATH.sub("", _FENCE.sub("", self.text))
        blocks = [block for block in re.split(r"\n\s*\n", prose) if not block.startswith("#")]
        self.paragraphs = [part for block in blocks for part in re.split(r"\n(?=[-*] )", block)]
        self.words = sum(len(paragraph.split()) for paragraph in self.paragraphs)
        self.figures = [cell for cell in self.code if "figure" in cell.metadata.get("mystnb", {})]

    def exercises(self) -> list[dict[str, object]]:
        data = _ROOT / "normcourse" / "checks" / "data" / f"{self.name[3:]}.json"
        if not data.is_file():
            return []
        found: list[dict[str, object]] = json.loads(data.read_text(encoding="utf-8"))["exercises"]
        return found


@pytest.fixture(scope="module", params=_CHAPTERS)
def chapter(request: pytest.FixtureRequest) -> Chapter:
    return Chapter(request.param)


class TestRhythm:
    def test_opens_with_its_question_and_a_summary(self, chapter: Chapter) -> None:
        title, question, summary, *_ = chapter.markdown[0].split("\n\n")
        assert title.startswith("# ")
        assert question.endswith("?")
        assert re.fullmatch(r"\*[^*\n]+\*", summary)

    def test_length(self, chapter: Chapter) -> None:
        assert 1200 <= chapter.words <= 2500
        long = [text for text in chapter.paragraphs if len(text.split()) > 60]
        assert not long

    def test_cells_are_short(self, chapter: Chapter) -> None:
        lengths = [len([line for line in c.source.splitlines() if line]) for c in chapter.code]
        assert statistics.median(lengths) <= 4
        assert max(lengths) <= 15
        wide = [line for c in chapter.code for line in c.source.splitlines() if len(line) > 72]
        assert not wide

    def test_figures(self, chapter: Chapter) -> None:
        assert len(chapter.figures) >= max(6, chapter.words / 250)
        names = [cell.metadata["mystnb"]["figure"]["name"] for cell in chapter.figures]
        assert len(set(names)) == len(names)
        for cell, name in zip(chapter.figures, names, strict=True):
            assert cell.metadata["mystnb"]["figure"]["caption"].strip().endswith(".")
            assert "hide-input" in cell.metadata["tags"]
            assert f"{{numref}}`{name}`" in chapter.text, f"{name} is never referred to"

    def test_wording(self, chapter: Chapter) -> None:
        assert not re.findall(r"\b(simply|obviously|trivially|of course)\b", chapter.text)

    def test_ends_with_what_to_keep(self, chapter: Chapter) -> None:
        assert chapter.headings[-1] == "Take-away"


class TestParts:
    def test_every_exercise_is_in_the_text_and_knows_its_section(self, chapter: Chapter) -> None:
        shown = re.findall(r"\{live-exercise\} (\w+)", chapter.text)
        exercises = chapter.exercises()
        assert sorted(shown) == sorted(str(exercise["id"]) for exercise in exercises)
        for exercise in exercises:
            assert exercise["section"] in chapter.headings

    def test_its_central_lines_can_be_tried(self, chapter: Chapter) -> None:
        cells = re.findall(r"```\{try-it\}\n(.*?)\n```", chapter.text, flags=re.DOTALL)
        assert cells
        for cell in cells:
            lines = [line for line in cell.splitlines() if line]
            assert len(lines) <= 15
            assert any("print(" in line for line in lines)

    def test_sections_that_hints_name_exist(self, chapter: Chapter) -> None:
        for exercise in chapter.exercises():
            hints = " ".join(exercise["hints"])  # type: ignore[arg-type]
            for number, section in re.findall(r"[Cc]hapter (\d\d), (?:section )?“(.+?)”", hints):
                if number == chapter.name[:2]:
                    assert section in chapter.headings, exercise["id"]

    def test_quiz(self, chapter: Chapter) -> None:
        assert f"{{quiz}} {chapter.name}\n" in chapter.text
        questions = load_quiz(_BOOK / "quiz" / f"{chapter.name}.toml").questions
        assert len(questions) >= 5
        assert len({question.kind for question in questions}) >= 2

    def test_citations_are_in_the_bibliography(self, chapter: Chapter) -> None:
        keys = re.findall(r"^@\w+\{(\w+),$", (_BOOK / "references.bib").read_text("utf-8"), re.M)
        assert len(set(keys)) == len(keys)
        cited = {
            key.strip()
            for group in re.findall(r"\{cite(?::[a-z]+)?\}`([^`]+)`", chapter.text)
            for key in group.split(",")
        }
        assert cited
        assert cited <= set(keys)

    def test_labels_of_equations_are_used_once(self, chapter: Chapter) -> None:
        labels = re.findall(r"\$\$ \((eq-[a-z-]+)\)", chapter.text)
        assert len(set(labels)) == len(labels)
        assert set(re.findall(r"\{eq\}`([^`]+)`", chapter.text)) <= set(labels)


def _table() -> str:
    """Return the entry page's table of chapters: what each asks, holds and takes."""
    rows = ["| chapter | asks | figures | exercises | minutes |", "|---|---|---:|---:|---:|"]
    for name in _CHAPTERS:
        chapter = Chapter(name)
        title, question, *_ = chapter.markdown[0].split("\n\n")
        exercises = chapter.exercises()
        solving = sum(int(str(exercise["minutes"])) for exercise in exercises)
        minutes = 5 * round((chapter.words / 150 + solving) / 5)
        link = f"[{name[:2]} {title.removeprefix('# ')}]({name}.ipynb)"
        held = (len(chapter.figures), len(exercises), minutes)
        rows.append(" | ".join(["| " + link, question, *map(str, held)]) + " |")
    return "\n".join(rows)


def test_the_entry_page_lists_the_chapters() -> None:
    """A page of text is read with pauses: 150 words a minute, and the exercises' own minutes."""
    page = (_BOOK / "index.md").read_text(encoding="utf-8")
    assert _table() in page, f"book/index.md should hold this table:\n\n{_table()}"


def test_labels_are_used_once_in_the_book() -> None:
    """Figures, equations, tables and definitions of all chapters share one space of names."""
    places: dict[str, list[str]] = {}
    for name in _CHAPTERS:
        chapter = Chapter(name)
        labels = [cell.metadata["mystnb"]["figure"]["name"] for cell in chapter.figures]
        labels += re.findall(r"^:(?:name|label): (\S+)$", chapter.text, flags=re.MULTILINE)
        labels += re.findall(r"\$\$ \((eq-[a-z-]+)\)", chapter.text)
        for label in labels:
            places.setdefault(label, []).append(name)
    assert not {label: where for label, where in places.items() if len(where) > 1}
