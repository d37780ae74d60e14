"""The published measurements are those of this code, and good enough."""

from __future__ import annotations

import pytest

from normcourse.checks import all_exercises
from normcourse.checks.exercise import Exercise
from tests.checks.measure import EQUIVALENTS, PAGE, Measured, equivalents, measure, page

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
def test_the_published_page_is_up_to_date() -> None:
    text = page([measured(exercise) for exercise in EXERCISES])
    assert PAGE.read_text(encoding="utf-8") == text, "run `python -m tests.checks.measure`"


def test_equivalents_name_exercises() -> None:
    import tomllib

    ids = {exercise.id for exercise in EXERCISES}
    assert set(tomllib.loads(EQUIVALENTS.read_text(encoding="utf-8"))) <= ids
