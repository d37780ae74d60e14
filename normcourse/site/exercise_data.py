"""The texts of the exercises, as ``make exercises`` wrote them into the package data."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import normcourse

__all__ = ["Chapter", "DataError", "ExerciseText", "data_folder", "find_exercise", "load_chapters"]

SCHEMA = 1
RUNTIMES = ("numpy", "torch")
FIX = "run `make exercises`, which writes this file from exercises/solutions/"


class DataError(ValueError):
    """A data file is not as it must be; the message says where, what and how to mend it."""


@dataclass(frozen=True)
class ExerciseText:
    """What a page shows of one exercise."""

    id: str
    title: str
    statement: str
    stub: str
    solution: str
    reason: str
    section: str
    minutes: int
    difficulty: int
    hints: tuple[str, ...]
    insight: str
    runtime: str
    version: int


@dataclass(frozen=True)
class Chapter:
    """The exercises of one chapter, in order, and the file they come from."""

    name: str
    notebook: str
    title: str
    exercises: tuple[ExerciseText, ...]
    path: Path


def data_folder() -> Path:
    """Return the folder of the package data, one JSON file per chapter."""
    return Path(normcourse.__file__).parent / "checks" / "data"


def load_chapters(folder: Path | None = None) -> list[Chapter]:
    """Read every chapter of ``folder``, sorted by the number of its notebook.

    Raises:
        DataError: a file is not JSON, lacks a field, or an exercise is listed twice.
    """
    folder = folder or data_folder()
    chapters = [_load_chapter(path) for path in sorted(folder.glob("*.json"))]
    seen: dict[str, Path] = {}
    for chapter, exercise in _pairs(chapters):
        if exercise.id in seen:
            raise DataError(
                f"{chapter.path}: exercise {exercise.id!r} is also in {seen[exercise.id]}; "
                "an id belongs to one chapter, rename one of the two functions"
            )
        seen[exercise.id] = chapter.path
    return sorted(chapters, key=lambda chapter: chapter.notebook)


def find_exercise(exercise_id: str, folder: Path | None = None) -> tuple[Chapter, ExerciseText]:
    """Return the exercise of that id with its chapter.

    Raises:
        DataError: no data file has it; the message lists the ids there are.
    """
    chapters = load_chapters(folder)
    for chapter, exercise in _pairs(chapters):
        if exercise.id == exercise_id:
            return chapter, exercise
    known = ", ".join(exercise.id for _, exercise in _pairs(chapters)) or "none"
    raise DataError(
        f"exercise {exercise_id!r} is in no file of {folder or data_folder()}; known: {known}. "
        f"Mend the id, or {FIX}"
    )


def _pairs(chapters: list[Chapter]) -> Iterator[tuple[Chapter, ExerciseText]]:
    return ((chapter, exercise) for chapter in chapters for exercise in chapter.exercises)


def _load_chapter(path: Path) -> Chapter:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not JSON ({error}); {FIX}") from error
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        got = data.get("schema") if isinstance(data, dict) else type(data).__name__
        raise DataError(f"{path}: schema is {got!r}, expected {SCHEMA}; {FIX}")
    if not isinstance(data.get("exercises"), list):
        raise DataError(f"{path}: 'exercises' is missing or not a list; {FIX}")
    return Chapter(
        name=_field(data, "chapter", str, str(path)),
        notebook=_field(data, "notebook", str, str(path)),
        title=_field(data, "title", str, str(path)),
        exercises=tuple(_exercise(item, path) for item in data["exercises"]),
        path=path,
    )


def _exercise(item: Any, path: Path) -> ExerciseText:
    if not isinstance(item, dict):
        raise DataError(f"{path}: an exercise is {type(item).__name__}, expected an object; {FIX}")
    where = f"{path}: exercise {item.get('id')!r}"
    texts = ("id", "title", "statement", "stub", "solution", "reason", "insight", "runtime")
    numbers = ("minutes", "difficulty", "version")
    fields: dict[str, Any] = {name: _field(item, name, str, where) for name in texts}
    fields |= {name: _field(item, name, int, where) for name in numbers}
    hints = _field(item, "hints", list, where)
    if len(hints) != 3 or not all(isinstance(hint, str) and hint.strip() for hint in hints):
        raise DataError(f"{where}: got {len(hints)} hints, expected three texts; {FIX}")
    if fields["runtime"] not in RUNTIMES:
        raise DataError(f"{where}: runtime is {fields['runtime']!r}, expected one of {RUNTIMES}")
    if not fields["id"].isidentifier():
        raise DataError(f"{where}: the id must be the name of the function; {FIX}")
    return ExerciseText(**fields, section=str(item.get("section", "")), hints=tuple(hints))


def _field(data: dict[str, Any], name: str, kind: type, where: str) -> Any:
    value = data.get(name)
    if not isinstance(value, kind) or isinstance(value, bool) or value == "":
        got = "nothing" if value in (None, "") else repr(value)
        raise DataError(f"{where}: {name!r} is {got}, expected a {kind.__name__}; {FIX}")
    return value
