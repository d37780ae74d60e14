"""What is graded and how it counts: exercises, points, deadline, attempts, limits.

Written by the instructor as a small TOML file, all of it optional:

    title = "Week 3"
    exercises = ["batch_norm_forward", "affine_to_undo"]    # or chapters = ["batch_norm"]
    deadline = 2026-11-30T23:59:00+01:00
    keep = "best"                 # or "last": which attempt counts, exercise by exercise
    policy = "fail"               # or "note": an answer that goes round the exercise
    [points]
    batch_norm_forward = 2        # 1 where nothing is said
    [late]
    factor = 0.9                  # for each day begun, or once with per = "once"
    per = "day"
    days = 5                      # after that nothing counts
    grace_minutes = 10
    [limits]
    run_seconds = 10
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import tomllib
import types
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from normcourse import __version__
from normcourse.checks import find
from normcourse.checks.catalogue import UnknownExercise, listed
from normcourse.checks.exercise import Exercise
from normcourse.grading.sandbox import Limits
from normcourse.grading.submissions import Handed, Submission
from normcourse.grading.verdict import TRIALS
from normcourse.grading.zips import Archives

SEED_POLICY = f"hmac-sha256, {TRIALS} sets, one case repeated"
_ENGINE = ("judge.py", "diagnose.py", "exercise.py", "probes.py", "codec.py", "worker.py")
_DAY = 86400.0


class BadAssignment(ValueError):
    """An assignment file that says something that cannot be; the message names the key."""


@dataclass(frozen=True)
class Late:
    """What lateness costs.

    Args:
        factor: what a score is multiplied with.
        per: "day", for each day begun, or "once".
        days: after so many nothing counts; None for no end.
        grace_minutes: not late yet.
    """

    factor: float = 1.0
    per: str = "day"
    days: int | None = None
    grace_minutes: float = 0.0

    def share(self, seconds: float) -> float:
        """Return what is left of a score so many seconds after the deadline.

        Example:
            >>> Late(0.9).share(90000.0)  # the second day
            0.81
        """
        late = seconds - 60 * self.grace_minutes
        if late <= 0:
            return 1.0
        begun = math.ceil(seconds / _DAY)
        if self.days is not None and begun > self.days:
            return 0.0
        return round(self.factor ** (begun if self.per == "day" else 1), 10)


@dataclass(frozen=True)
class Assignment:
    """See the top of this file.

    Args:
        title: heading of reports.
        exercises: ids, in the order of the course.
        points: by id.
        deadline: seconds since 1970, None for none.
        keep: "best" or "last".
        policy: "fail" or "note".
        late: what lateness costs.
        limits: of each answer's process.
    """

    exercises: tuple[str, ...]
    title: str = "Exercises"
    points: Mapping[str, float] = field(default_factory=dict)
    deadline: float | None = None
    keep: str = "best"
    policy: str = "fail"
    late: Late = field(default_factory=Late)
    limits: Limits = field(default_factory=Limits)

    def worth(self, exercise: str) -> float:
        """Return the points of an exercise."""
        return float(self.points.get(exercise, 1.0))

    @property
    def maximum(self) -> float:
        """All points together."""
        return sum(self.worth(exercise) for exercise in self.exercises)

    def share(self, submission: Submission, deadline: float | None = None) -> float:
        """Return the share of a score that a submission's lateness leaves.

        Args:
            submission: with the time it came.
            deadline: the learner's own, where it differs.
        """
        until = self.deadline if deadline is None else deadline
        if until is None:
            return self.late.share(1.0) if submission.marked_late else 1.0
        late = submission.submitted - until
        return self.late.share(max(late, 1.0) if submission.marked_late else late)


def load(path: Path) -> Assignment:
    """Read an assignment file.

    Raises:
        BadAssignment: it is no TOML, or a key or value is unknown.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadAssignment(f"{path}: {error}") from None
    known = {"title", "exercises", "chapters", "deadline", "keep", "policy", "points", "late"}
    unknown = set(data) - known - {"limits"}
    if unknown:
        raise BadAssignment(f"{path}: unknown keys {sorted(unknown)}, known are {sorted(known)}.")
    try:
        return _assignment(data)
    except (BadAssignment, TypeError, ValueError, UnknownExercise) as error:
        raise BadAssignment(f"{path}: {error}") from None


def _assignment(data: dict[str, Any]) -> Assignment:
    deadline = data.get("deadline")
    if deadline is not None:
        if not isinstance(deadline, datetime) or deadline.tzinfo is None:
            raise BadAssignment("deadline: expected a time with its zone, 2026-11-30T23:59:00Z.")
        deadline = deadline.timestamp()
    for key, choices in (("keep", ("best", "last")), ("policy", ("fail", "note"))):
        if data.get(key, choices[0]) not in choices:
            raise BadAssignment(f"{key}: expected one of {choices}, got {data[key]!r}.")
    late = Late(**data.get("late", {}))
    if late.per not in ("day", "once") or not 0 <= late.factor <= 1:
        raise BadAssignment("late: expected per = 'day' or 'once' and a factor from 0 to 1.")
    points = {name: float(worth) for name, worth in data.get("points", {}).items()}
    exercises = select(data.get("exercises", ()), data.get("chapters", ()))
    stray = set(points) - set(exercises) if exercises else set()
    if stray or any(not 0 <= worth < math.inf for worth in points.values()):
        raise BadAssignment(f"points: expected numbers >= 0 for graded exercises, got {points}.")
    return Assignment(
        exercises,
        str(data.get("title", "Exercises")),
        points,
        deadline,
        data.get("keep", "best"),
        data.get("policy", "fail"),
        late,
        Limits(**data.get("limits", {})),
    )


def select(exercises: Iterable[str], chapters: Iterable[str]) -> tuple[str, ...]:
    """Return the ids that are named, one by one or by chapter, in the order of the course.

    Raises:
        UnknownExercise: one of them does not exist.
        BadAssignment: no chapter has the name.
    """
    known = listed()
    wanted, names = set(exercises), {entry.chapter: None for entry in known.values()}
    for name in wanted - set(known):
        raise UnknownExercise(name, list(known))
    for chapter in chapters:
        members = {e.id for e in known.values() if chapter in (e.chapter, e.notebook)}
        if not members:
            raise BadAssignment(f"there is no chapter {chapter!r}. Chapters: {', '.join(names)}.")
        wanted |= members
    return tuple(name for name in known if name in wanted)


def infer(handed: Iterable[Handed]) -> tuple[str, ...]:
    """Return the exercises of every chapter of which somebody handed in an exercise."""
    names = "|".join(re.escape(name) for name in listed())
    pattern = re.compile(rf"\b(?:def|class)\s+({names})\b".encode())
    found: set[str] = set()
    with closing(Archives()) as archives:
        for one in handed:
            for name, data in one.read(archives).files.items():
                if name.lower().endswith((".ipynb", ".py")):
                    found |= {match.decode() for match in pattern.findall(data)}
    return select((), {listed()[name].chapter for name in found})


# --- what a verdict depends on ---------------------------------------------------------------


def key(submission: str, exercise: str, assignment: Assignment, secret_id: str) -> str:
    """Return the name of a verdict: whatever could change it changes the name.

    Args:
        submission: digest of the files.
        exercise: id.
        assignment: for its limits and its policy.
        secret_id: tells one secret from another without giving it away.
    """
    parts = [submission, exercise, fingerprint(exercise), engine(), SEED_POLICY, secret_id]
    parts += [json.dumps(asdict(assignment.limits), sort_keys=True), assignment.policy]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


_engine: list[str] = []


def engine() -> str:
    """Return a hash of the code that judges: package version, judge and grader."""
    if not _engine:
        checks = Path(__file__).parents[1] / "checks"
        own = ("runner.py", "verdict.py", "policy.py", "zygote.py", "confine.py")
        files = [checks / name for name in _ENGINE] + [Path(__file__).parent / n for n in own]
        total = hashlib.sha256(__version__.encode())
        for file in files:
            total.update(file.read_bytes())
        _engine.append(total.hexdigest()[:16])
    return _engine[0]


_fingerprints: dict[str, str] = {}


def fingerprint(exercise_id: str) -> str:
    """Return a hash of one exercise's judge: version, texts and the code of its functions.

    When a judge is mended, the fingerprints of the exercises that it judges change, and no others:
    only these are graded again.
    """
    if exercise_id not in _fingerprints:
        exercise = find(exercise_id)
        total = hashlib.sha256()
        for part in _parts(exercise):
            total.update(part.encode())
        _fingerprints[exercise_id] = total.hexdigest()[:16]
    return _fingerprints[exercise_id]


def _parts(exercise: Exercise) -> list[str]:
    seen: set[int] = set()
    parts: list[str] = []
    for item in fields(exercise):
        parts.append(item.name)
        parts += _described(getattr(exercise, item.name), seen)
    return parts


def _described(value: Any, seen: set[int]) -> list[str]:
    """Describe a value by its contents, a function by its code and that of those it calls."""
    if isinstance(value, types.FunctionType):
        if id(value) in seen or not str(value.__module__).startswith("normcourse."):
            return [value.__qualname__]
        seen.add(id(value))
        return _code(value.__code__, value, seen)
    if isinstance(value, Mapping):
        return [part for k, v in value.items() for part in (str(k), *_described(v, seen))]
    if isinstance(value, tuple | list | frozenset | set):
        items = sorted(value, key=repr) if isinstance(value, set | frozenset) else value
        return [part for item in items for part in _described(item, seen)]
    if hasattr(value, "__dataclass_fields__"):
        return [p for f in fields(value) for p in _described(getattr(value, f.name), seen)]
    if isinstance(value, str | int | float | bool | None):
        return [repr(value)]
    return [type(value).__name__]


def _code(code: types.CodeType, function: types.FunctionType, seen: set[int]) -> list[str]:
    parts = [code.co_code.hex(), *code.co_names, *code.co_varnames]
    for constant in code.co_consts:
        inner = isinstance(constant, types.CodeType)
        parts += _code(constant, function, seen) if inner else [repr(constant)]
    for name in code.co_names:
        reached = function.__globals__.get(name)
        if isinstance(reached, types.FunctionType | str | int | float | tuple | dict):
            parts += _described(reached, seen)
    for cell in function.__closure__ or () if code is function.__code__ else ():
        parts += _described(cell.cell_contents, seen)
    parts += _described(function.__defaults__ or (), seen) if code is function.__code__ else []
    return parts
