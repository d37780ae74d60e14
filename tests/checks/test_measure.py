"""The published measurements are those of this code, and good enough."""

from __future__ import annotations

import pytest

from normcourse.checks import all_exercises
from normcourse.checks.exercise import Exercise
from tests.checks.measure import BOOK, EQUIVALENTS, Measured, equivalents, measure, pages

EXERCISES = all_exercises()
_MEASURED: dict[str, Measured] = {}


def measured(exercise: Exercise) -> Measured:
    """Measure each exercise once per process."""
    if exercise.id not in _MEASURED:
        _MEASURED[exercise.id] = measure(exercise)
    return _MEASURED[exercise.id]


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.id)
@pytest.mark.xdist_group("measure")
def test_surviving_mutants_are_known_and_explained(exercise: Exercise) -> None:
    result, known = measured(exercise), equivalents(exercise)
    assert set(result.alive) <= set(known), "add a case, or explain the mutant in equivalents.toml"
    assert set(known) <= set(result.alive), "no longer survives: take it out of equivalents.toml"
    assert all(known.values())


@pytest.mark.xdist_group("measure")
def test_the_published_pages_are_up_to_date() -> None:
    texts = pages([measured(exercise) for exercise in EXERCISES])
    for place, text in texts.items():
        assert (BOOK / place).read_text(encoding="utf-8") == text, (
            f"{place}: run `python -m tests.checks.measure`"
        )
    there = {f"judges/{path.name}" for path in (BOOK / "judges").iterdir()}
    assert there | {"judges.md"} == set(texts)


def test_the_pages_of_the_chapters_are_in_the_contents() -> None:
    listed = (BOOK.parent / "_toc.yml").read_text(encoding="utf-8")
    for notebook in {exercise.notebook for exercise in EXERCISES}:
        assert f"file: book/judges/{notebook}\n" in listed


def test_equivalents_name_exercises() -> None:
    import tomllib

    ids = {exercise.id for exercise in EXERCISES}
    assert set(tomllib.loads(EQUIVALENTS.read_text(encoding="utf-8"))) <= ids
