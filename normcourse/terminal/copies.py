"""The learner's own files: handing out notebooks, putting stubs back. Nothing is lost.

A file that exists and differs is never written over: ``start`` keeps it, ``reset`` asks and leaves
a copy of the old file beside the new one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from normcourse.checks.catalogue import Listed, chapters
from normcourse.checks.handout import dump, learner_notebook
from normcourse.checks.source import Source, definition_in, lines_of
from normcourse.terminal import BadInput
from normcourse.terminal.learn import Confirm
from normcourse.terminal.screen import Screen
from normcourse.terminal.task import task_of

DEFAULT_FOLDER = Path("my_normcourse")
_TRACKED = ("exercises", "book", "normcourse", "tests")


def start(folder: Path, out: Screen) -> int:
    """Write the learner's notebooks into a folder; what is there and differs stays.

    Raises:
        BadInput: the folder cannot be one, or belongs to the course itself.
    """
    _refuse_tracked(folder)
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"{folder}: is a file, expected a folder.")
    counts = {"new": 0, "same": 0, "yours": 0}
    try:
        _make(folder)
        for data in chapters().values():
            path, text = folder / f"{data['notebook']}.ipynb", dump(learner_notebook(data))
            kind = _state(path, text)
            counts[kind] += 1
            if kind == "new":
                path.write_text(text, encoding="utf-8")
            elif kind == "yours":
                out.line(f"  kept {path}: it holds your work", "quiet")
    except OSError as error:
        raise BadInput(f"{folder}: cannot be written ({error.strerror}).") from None
    out.line(f"{folder}: {_said(counts)}.", "good")
    first = next(iter(chapters().values()))["notebook"]
    out.line(f"  jupyter lab {folder / first}.ipynb", "link")
    out.line(f"  normcourse check {folder / first}.ipynb", "link")
    return 0


def _said(counts: dict[str, int]) -> str:
    """Return what became of the notebooks, in words."""
    parts = [
        f"{counts['new']} notebook{'s' * (counts['new'] != 1)} written",
        f"{counts['same']} there already",
        f"{counts['yours']} kept as you left {'it' if counts['yours'] == 1 else 'them'}",
    ]
    return ", ".join(part for part in parts if not part.startswith("0 ")) or "nothing to write"


def _state(path: Path, text: str) -> str:
    """Say whether a file is "new", the "same" as what is handed out, or "yours"."""
    if not path.exists():
        return "new"
    return "same" if path.read_bytes() == text.encode() else "yours"


def _make(folder: Path) -> None:
    """Make the folder, where it is new inside a clone of the course one that git ignores."""
    if folder.exists():
        return
    folder.mkdir(parents=True)
    if _course() in folder.resolve().parents and folder.name != DEFAULT_FOLDER.name:
        (folder / ".gitignore").write_text("*\n", encoding="utf-8")


def _refuse_tracked(folder: Path) -> None:
    for name in _TRACKED:
        tracked = _course() / name
        if tracked in (folder.resolve(), *folder.resolve().parents):
            raise BadInput(
                f"{folder}: belongs to the course itself. Take a folder of your own, such as "
                f"{DEFAULT_FOLDER}."
            )


def _course() -> Path:
    return Path(__file__).resolve().parents[2]


def reset_file(path: Path, ids: Sequence[str], out: Screen, confirm: Confirm) -> int:
    """Put the stubs back into the learner's file, after asking; a copy of the old file is kept.

    Raises:
        BadInput: the file belongs to the course, or an exercise cannot be told from its cell.
    """
    task = task_of(path, ids)
    _refuse_tracked(path.resolve().parent)
    if not task.begun:
        out.line(f"{path}: nothing to reset, the stubs are as handed out.")
        return 0
    before = path.read_bytes()
    text = with_stubs(before.decode("utf-8-sig"), task.source, task.begun)
    names = ", ".join(exercise.id for exercise in task.begun)
    if not confirm(f"Replace your code of {names} in {path} by the stub?"):
        out.line("Nothing changed.")
        return 1
    if path.read_bytes() != before:
        raise BadInput(f"{path}: was saved meanwhile. Nothing changed; try again.")
    try:
        backup = _backed_up(path, before)
        path.write_bytes(text.encode())
    except OSError as error:
        raise BadInput(f"{path}: cannot be written ({error.strerror}).") from None
    out.line(f"{path}: {names} as handed out. Your old file is {backup}.", "good")
    return 0


def with_stubs(text: str, source: Source, exercises: Sequence[Listed]) -> str:
    """Return a file's text with the stubs of some exercises in place.

    Raises:
        BadInput: a cell that does not parse defines other things as well.
    """
    edits = sorted((_edit(source, exercise) for exercise in exercises), reverse=True)
    if source.path.suffix == ".py":
        for edit in edits:
            text = edit.applied(text)
        return text
    notebook = json.loads(text)
    for edit in edits:
        cell = notebook["cells"][edit.place]
        new = edit.applied("".join(cell["source"]))
        cell |= {"source": new.splitlines(keepends=True), "outputs": [], "execution_count": None}
    return dump(notebook)


@dataclass(frozen=True, order=True)
class _Edit:
    """Lines ``first`` to ``last``, from 1, of a cell or file that get another text."""

    place: int
    first: int
    last: int
    text: str

    def applied(self, text: str) -> str:
        end = "\r\n" if "\r\n" in text else "\n"
        lines = re.split(r"\r\n|\r|\n", text)
        lines[self.first - 1 : self.last] = self.text.split("\n")
        return end.join(lines)


def _edit(source: Source, exercise: Listed) -> _Edit:
    cell = source.defines(exercise.id)
    assert cell is not None
    stub = definition_in(exercise.stub, exercise.id) or exercise.stub
    if not cell.problem:
        found = lines_of(cell.code, exercise.id)
        assert found is not None
        return _Edit(cell.place, *found, stub)
    if set(cell.names) != {exercise.id}:
        raise BadInput(
            f"{source.path}: {cell.label} does not parse ({cell.problem}), so {exercise.id} cannot "
            "be told from what else it defines. Mend that line first."
        )
    lines = cell.code.rstrip().split("\n")
    first = next(number for number, line in enumerate(lines, 1) if line.strip())
    return _Edit(cell.place, first, len(lines), stub)


def _backed_up(path: Path, data: bytes) -> Path:
    """Write the old file beside the new one, under a name that is free."""
    for number in count(1):
        backup = path.with_name(f"{path.name}.{number}.bak")
        try:
            with backup.open("xb") as file:
                file.write(data)
        except FileExistsError:
            continue
        return backup
    raise AssertionError("unreachable")
