"""``check``: which answers of a file are judged, and the judging itself, one verdict at a time.

What must not wait comes first: the file is read and the process for the learner's code started
before the judges are imported. Code that is still the stub needs neither process nor NumPy.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from normcourse.checks.catalogue import Listed, entry, listed
from normcourse.checks.child import Child
from normcourse.checks.host import Host
from normcourse.checks.source import Source, definition_in, read_source, same_code
from normcourse.terminal import BadInput

if TYPE_CHECKING:
    from normcourse.checks.exercise import Exercise
    from normcourse.checks.feedback import Feedback

_IMPORTS_TORCH = re.compile(r"^\s*(?:import|from)\s+torch\b", re.MULTILINE)


@dataclass(frozen=True)
class Task:
    """What one ``check`` is to judge.

    Args:
        source: the learner's file.
        exercises: those to judge, in the order of the course.
        begun: those of them that are no longer the stub.
        named: whether the learner named them.
    """

    source: Source
    exercises: tuple[Listed, ...]
    begun: tuple[Listed, ...]
    named: bool


@dataclass(frozen=True)
class Verdict:
    """What came of one exercise.

    Args:
        exercise: the exercise.
        feedback: the judge's, or None for code that is still the stub.
        counts: whether it belongs into the progress file.
    """

    exercise: Listed
    feedback: Feedback | None
    counts: bool = True

    @property
    def status(self) -> str:
        """One of ``feedback.STATUSES``."""
        return "not_started" if self.feedback is None else self.feedback.status


def task_of(path: Path, ids: Sequence[str] = ()) -> Task:
    """Read a file and say what of it is judged: the exercises named, or all that it holds.

    Raises:
        BadSource: the file cannot be read.
        UnknownExercise: an id that no exercise has.
        BadInput: the file holds no exercise, or not the one that was named.
    """
    wanted = [entry(exercise_id) for exercise_id in dict.fromkeys(ids)]
    source = read_source(path)
    defined = {name for cell in source.cells for name in cell.names}
    held = [exercise for exercise in listed().values() if exercise.id in defined]
    if not held:
        raise BadInput(
            f"{path}: no exercise inside. It should define a function such as "
            f"{next(iter(listed()))}; `normcourse start` hands out the notebooks."
        )
    for exercise in wanted:
        if exercise not in held:
            names = ", ".join(other.id for other in held[:6]) + (", …" if len(held) > 6 else "")
            raise BadInput(f"{path}: does not define {exercise.id}. It holds {names}.")
    exercises = tuple(wanted or held)
    begun = tuple(exercise for exercise in exercises if not is_stub(exercise, source))
    return Task(source, exercises, begun, named=bool(wanted))


def is_stub(exercise: Listed, source: Source) -> bool:
    """Say whether the file's definition is the one that was handed out."""
    own = source.definition(exercise.id)
    stub = definition_in(exercise.stub, exercise.id)
    return own is not None and stub is not None and same_code(own, stub)


def host_of(task: Task, time_limit: float, spare: Child | None = None) -> Host:
    """Return the host of a task's file, its process started if anything has to be run.

    PyTorch, where it is needed, is loaded before the time limit begins.
    """
    torch = any(exercise.runtime == "torch" for exercise in task.exercises) or any(
        _IMPORTS_TORCH.search(cell.code) for cell in task.source.cells
    )
    preload = ("torch",) if torch else ()
    host = Host(task.source, time_limit=time_limit, preload=preload, spare=spare)
    if any(_can_run(exercise, task.source) for exercise in task.begun):
        host.prepare()
    return host


def verdicts(task: Task, host: Host, time_limit: float) -> Iterator[Verdict]:
    """Yield a verdict per exercise; the learner's code runs in the host's process.

    Raises:
        NoChild: that process does not start.
    """
    for exercise in task.exercises:
        if exercise not in task.begun:
            yield Verdict(exercise, None)
        elif exercise.runtime == "torch" and not _has_torch():
            yield Verdict(exercise, _without_torch(exercise), counts=False)
        else:
            yield Verdict(exercise, _judged(exercise, host, task.source, time_limit))


def remarks(task: Task, host: Host) -> list[str]:
    """Return what a learner should know about how the file was read and run."""
    skipped = [f"{c.label} `{line}`" for c in task.source.cells for line in c.skipped]
    more = f" and {len(skipped) - 3} more" if len(skipped) > 3 else ""
    said = [f"Not Python, left out: {', '.join(skipped[:3])}{more}."] if skipped else []
    if host.fallen_back:
        said.append(
            f"Running the file as a whole did not end well ({host.fallen_back}); only its "
            "imports, definitions and assignments were run."
        )
    return said


def _can_run(exercise: Listed, source: Source) -> bool:
    cell = source.defines(exercise.id)
    return cell is not None and not cell.problem and (exercise.runtime == "numpy" or _has_torch())


def _has_torch() -> bool:
    return find_spec("torch") is not None


def _judged(exercise: Listed, host: Host, source: Source, time_limit: float) -> Feedback:
    from normcourse.checks import find
    from normcourse.checks.judge import judge, not_loaded
    from normcourse.checks.runners import ChildRunner, LoadError
    from normcourse.checks.texts import supplied_code

    full: Exercise = find(exercise.id)
    cell = source.defines(exercise.id)
    if cell is not None and cell.problem:
        return not_loaded(full, f"syntax error in {cell.label}: {cell.problem}.")
    supplied = supplied_code(full)
    try:
        with ChildRunner(host, full, supplied=supplied, time_limit=time_limit) as runner:
            return judge(full, runner)
    except LoadError as error:
        return not_loaded(full, str(error))


def _without_torch(exercise: Listed) -> Feedback:
    from normcourse.checks.feedback import Feedback

    return Feedback(
        exercise.id,
        exercise.version,
        "error",
        "this exercise needs PyTorch, which is not installed here.",
        stage="loads",
        next="`make course` installs it",
    )
