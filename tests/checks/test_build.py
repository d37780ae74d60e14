"""``make exercises``: the learner's notebook and the package data follow from the solutions."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest

from normcourse.checks import all_exercises
from normcourse.checks.build import ROOT, BadSolutions, build, outputs, solution_of, stub_of

CHAPTER = all_exercises("batch_norm")
SOURCE = ROOT / "exercises" / "solutions" / "02_batch_norm.ipynb"

METHODS = """\
class A:
    def f(self):
        ### BEGIN SOLUTION
        return 1
        ### END SOLUTION

    def g(self):
        ### BEGIN SOLUTION
        ### STUB: return 3
        return 2
        ### END SOLUTION
"""
METHODS_STUB = """\
class A:
    def f(self):
        raise NotImplementedError

    def g(self):
        return 3"""


@pytest.fixture
def solutions() -> Any:
    return json.loads(SOURCE.read_text("utf-8"))


def test_committed_files_are_up_to_date() -> None:
    stale = [p.name for p, text in outputs().items() if p.read_text(encoding="utf-8") != text]
    assert stale == [], "run `make exercises`"


def test_every_solutions_notebook_belongs_to_a_chapter() -> None:
    names = {path.stem for path in SOURCE.parent.glob("*.ipynb")}
    assert names == {exercise.notebook for exercise in all_exercises()}


def test_learners_notebook_holds_no_solution(solutions: Any) -> None:
    learner, _ = build(solutions, CHAPTER)
    text = json.dumps(learner)
    assert "BEGIN SOLUTION" not in text
    assert "keepdims" not in text
    assert text.count("raise NotImplementedError") == len(CHAPTER)
    assert not any(cell.get("outputs") for cell in learner["cells"])


def test_regions_may_stand_anywhere() -> None:
    assert stub_of(METHODS) == METHODS_STUB
    assert "STUB" not in solution_of(METHODS)
    assert "return 2" in solution_of(METHODS)


def change(solutions: Any, role: str, **edits: Any) -> Any:
    """Return the notebook with the first cell of a role changed or, with drop, left out."""
    changed = deepcopy(solutions)
    cells = changed["cells"]
    place = next(
        i for i, c in enumerate(cells) if c["metadata"].get("normcourse", {}).get("role") == role
    )
    if edits.pop("drop", False):
        del cells[place]
    elif edits.pop("twice", False):
        cells.insert(place, deepcopy(cells[place]))
    else:
        cells[place].update(edits)
    return changed


@pytest.mark.parametrize(
    ("role", "edits", "words"),
    [
        ("reason", {"drop": True}, "no cell with the role reason"),
        ("answer", {"source": "def normalized_example(): return 1"}, "no ### BEGIN SOLUTION"),
        (
            "answer",
            {"source": "def f():\n    ### BEGIN SOLUTION\n    return 1\n    ### END SOLUTION"},
            "does not define it",
        ),
        ("check", {"twice": True}, "two cells with the role check"),
        ("check", {"metadata": {"normcourse": {"exercise": "a"}}}, "is not exercise and role"),
        (
            "statement",
            {"metadata": {"normcourse": {"exercise": "b", "role": "statement"}}},
            "no cell with the role",
        ),
    ],
)
def test_broken_solutions_are_named(
    solutions: Any, role: str, edits: dict[str, Any], words: str
) -> None:
    with pytest.raises(BadSolutions, match=words):
        build(change(solutions, role, **edits), CHAPTER)


def test_exercises_missing_from_checks_are_named(solutions: Any) -> None:
    with pytest.raises(BadSolutions, match="checks hold"):
        build(solutions, CHAPTER[:-1])
