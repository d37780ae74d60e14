"""What is judged: exercises, one file per chapter, and the engine beside them.

``find(id)`` returns an exercise, ``all_exercises()`` all of them in the order of the course.
PyTorch exercises live in ``checks/torch`` and are loaded only when they are asked for.
Importing this package costs the standard library; the first exercise loads NumPy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from normcourse.checks.catalogue import UnknownExercise, listed

if TYPE_CHECKING:
    from normcourse.checks.exercise import Case, Exercise, Mismatch, Mistake, Stage

__all__ = [
    "CHAPTERS",
    "Case",
    "Exercise",
    "Mismatch",
    "Mistake",
    "Stage",
    "UnknownExercise",
    "all_exercises",
    "find",
]

CHAPTERS: dict[str, tuple[str, ...]] = {
    "covariate_shift": ("normcourse.checks.covariate_shift",),
    "batch_norm": ("normcourse.checks.batch_norm",),
    "batch_norm_backward": ("normcourse.checks.batch_norm_backward",),
    "batch_norm_inference": (
        "normcourse.checks.batch_norm_inference",
        "normcourse.checks.torch.batch_norm_inference",
    ),
    "why_batch_norm_works": ("normcourse.checks.why_batch_norm_works",),
    "batch_norm_limits": ("normcourse.checks.batch_norm_limits",),
    "layer_norm": ("normcourse.checks.layer_norm",),
    "layer_norm_sequences": ("normcourse.checks.layer_norm_sequences",),
    "rms_norm_and_beyond": ("normcourse.checks.rms_norm_and_beyond",),
    "instance_norm": ("normcourse.checks.instance_norm",),
    "group_norm": ("normcourse.checks.group_norm",),
    "divisive_normalization": ("normcourse.checks.divisive_normalization",),
    "placement_cnn": ("normcourse.checks.torch.placement_cnn",),
    "placement_transformer": ("normcourse.checks.placement_transformer",),
    "choosing": ("normcourse.checks.choosing",),
    "numerics_and_speed": ("normcourse.checks.numerics_and_speed",),
}


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
    """Return the exercise of this id, loading no more than the modules of its chapter.

    Raises:
        UnknownExercise: there is none; the message names the nearest.
    """
    known = listed().get(exercise_id)
    for module in _modules(known.chapter, known.runtime) if known else _modules():
        for exercise in import_module(module).EXERCISES:
            if exercise.id == exercise_id:
                return exercise  # type: ignore[no-any-return]
    raise UnknownExercise(exercise_id, [*listed()])


def _modules(chapter: str = "", runtime: str = "") -> list[str]:
    """Return the modules that may hold an exercise; those for PyTorch only where asked for."""
    names = [n for c, modules in CHAPTERS.items() if chapter in ("", c) for n in modules]
    in_torch = [name for name in names if name.startswith("normcourse.checks.torch.")]
    in_numpy = [name for name in names if name not in in_torch]
    return {"torch": in_torch, "numpy": in_numpy}.get(runtime, names)


def __getattr__(name: str) -> Any:
    """Load the record types when they are first asked for; they bring NumPy with them."""
    if name not in ("Case", "Exercise", "Mismatch", "Mistake", "Stage"):
        raise AttributeError(f"module 'normcourse.checks' has no attribute {name!r}")
    return getattr(import_module("normcourse.checks.exercise"), name)
