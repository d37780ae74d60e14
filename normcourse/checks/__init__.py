"""What is judged: exercises, one file per chapter, and the engine beside them.

``find(id)`` returns an exercise, ``all_exercises()`` all of them in the order of the course.
PyTorch exercises live in ``checks/torch`` and are loaded only when they are asked for.
"""

from __future__ import annotations

import difflib
from importlib import import_module

from normcourse.checks.exercise import Case, Exercise, Mismatch, Mistake, Stage

__all__ = ["CHAPTERS", "Case", "Exercise", "Mismatch", "Mistake", "Stage", "all_exercises", "find"]

CHAPTERS: dict[str, tuple[str, ...]] = {
    "batch_norm": ("normcourse.checks.batch_norm",),
}


class UnknownExercise(LookupError):
    """No exercise has this id."""


def all_exercises(chapter: str | None = None) -> tuple[Exercise, ...]:
    """Return the exercises of a chapter, or of the course, in order.

    Example:
        >>> [exercise.id for exercise in all_exercises("batch_norm")][:2]
        ['normalized_example', 'batch_norm_forward']
    """
    chapters = CHAPTERS if chapter is None else {chapter: CHAPTERS[chapter]}
    return tuple(
        exercise
        for modules in chapters.values()
        for module in modules
        for exercise in import_module(module).EXERCISES
    )


def find(exercise_id: str) -> Exercise:
    """Return the exercise of this id.

    Raises:
        UnknownExercise: there is none; the message names the nearest.
    """
    for exercise in all_exercises():
        if exercise.id == exercise_id:
            return exercise
    ids = [exercise.id for exercise in all_exercises()]
    near = difflib.get_close_matches(exercise_id, ids, n=1)
    meant = f" Did you mean {near[0]}?" if near else " `normcourse progress` lists them all."
    raise UnknownExercise(f"there is no exercise {exercise_id!r}.{meant}")
