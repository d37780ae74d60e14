"""The list of exercises, read from the package data: ids, titles and texts without the judges.

``make exercises`` writes one JSON file per chapter. Reading them costs milliseconds and needs
neither NumPy nor PyTorch, so that hint, solution, progress and next answer at once, and an exercise
is loaded only when it is judged.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

SCHEMA = 1
FOLDER = Path(__file__).parent / "data"


class UnknownExercise(LookupError):
    """No exercise has this id; the message names the nearest."""

    def __init__(self, exercise_id: str, known: list[str]) -> None:
        import difflib

        near = difflib.get_close_matches(exercise_id, known, n=1)
        meant = f"Did you mean {near[0]}?" if near else "`normcourse progress --all` lists them."
        super().__init__(f"there is no exercise {exercise_id!r}. {meant}")


@dataclass(frozen=True)
class Listed:
    """One exercise as the package data describes it; see ``exercise.Exercise`` for the fields."""

    id: str
    title: str
    chapter: str
    notebook: str
    section: str
    minutes: int
    difficulty: int
    runtime: str
    version: int
    hints: tuple[str, ...]
    insight: str
    statement: str
    stub: str
    solution: str
    reason: str


@cache
def chapters() -> Mapping[str, Any]:
    """Return the data of every chapter by name, in the order of the course.

    Example:
        >>> chapters()["batch_norm"]["notebook"]
        '02_batch_norm'
    """
    found = [json.loads(path.read_text(encoding="utf-8")) for path in FOLDER.glob("*.json")]
    for data in found:
        if data["schema"] != SCHEMA:
            raise ValueError(
                f"{data['chapter']}.json: expected schema {SCHEMA}, got {data['schema']!r}. "
                "Run `make exercises`."
            )
    found.sort(key=lambda data: str(data["notebook"]))
    return {data["chapter"]: data for data in found}


@cache
def listed() -> Mapping[str, Listed]:
    """Return every exercise by id, in the order of the course.

    Example:
        >>> listed()["batch_norm_forward"].runtime
        'numpy'
    """
    return {entry.id: entry for data in chapters().values() for entry in _entries(data)}


def entry(exercise_id: str) -> Listed:
    """Return one exercise of the list.

    Raises:
        UnknownExercise: there is none of this id.

    Example:
        >>> entry("batch_norm_froward")
        Traceback (most recent call last):
        normcourse.checks.catalogue.UnknownExercise: there is no exercise 'batch_norm_froward'. \
Did you mean batch_norm_forward?
    """
    try:
        return listed()[exercise_id]
    except KeyError:
        raise UnknownExercise(exercise_id, list(listed())) from None


def _entries(data: dict[str, Any]) -> Iterator[Listed]:
    names = [field.name for field in fields(Listed)]
    for record in data["exercises"]:
        whole = {**record, "chapter": data["chapter"], "notebook": data["notebook"]}
        whole["hints"] = tuple(record["hints"])
        yield Listed(**{name: whole[name] for name in names})
