"""From verdicts to marks: attempts, lateness, totals, and what went wrong most often."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from normcourse.checks.feedback import Feedback
from normcourse.grading.assignment import Assignment
from normcourse.grading.batch import Sheet
from normcourse.grading.journal import Journal

_HIDDEN = ("key", "seconds", "seeds", "engine", "judge", "submission", "schema")


@dataclass(frozen=True)
class Mark:
    """What counts for one exercise of one learner.

    Args:
        exercise: id.
        outcome: of the attempt that counts.
        points: earned, None while the grader itself failed.
        worth: at most.
        attempt: that counts.
        share: that its lateness leaves.
        record: the verdict as the journal holds it.
    """

    exercise: str
    outcome: str
    points: float | None
    worth: float
    attempt: str
    share: float
    record: dict[str, Any]

    def feedback(self) -> Feedback | None:
        """Return what the learner may read: no hidden case, no numbers of it, nothing printed."""
        plain = self.record["feedback"]
        if plain is None:
            return None
        for name in ("mistakes", "causes", "evidence", "proven"):
            plain = {**plain, name: tuple(plain[name])}
        return Feedback(**{**plain, "output": "", "hint": ""}).redact()


@dataclass(frozen=True)
class Row:
    """One learner's marks.

    Args:
        learner: who.
        marks: in the order of the assignment.
        submitted: seconds since 1970, of the attempt that came last.
        late_seconds: of that attempt.
    """

    learner: str
    marks: tuple[Mark, ...]
    submitted: float
    late_seconds: float

    @property
    def total(self) -> float | None:
        """Points together, None while one is open."""
        if any(mark.points is None for mark in self.marks):
            return None
        return round(sum(mark.points or 0.0 for mark in self.marks), 6)

    @property
    def open(self) -> tuple[Mark, ...]:
        """The marks that the grader could not give."""
        return tuple(mark for mark in self.marks if mark.points is None)


@dataclass
class Class:
    """What the whole class did; holds no names.

    Args:
        learners: how many.
        outcomes: by exercise, how many had which.
        mistakes: by exercise, how many made which.
        messages: what a mistake is called.
        totals: points of each learner, in order of size.
    """

    learners: int = 0
    outcomes: dict[str, Counter[str]] = field(default_factory=dict)
    mistakes: dict[str, Counter[str]] = field(default_factory=dict)
    messages: dict[tuple[str, str], str] = field(default_factory=dict)
    totals: list[float] = field(default_factory=list)

    def add(self, row: Row) -> None:
        """Count one learner."""
        self.learners += 1
        if row.total is not None:
            self.totals.append(row.total)
            self.totals.sort()
        for mark in row.marks:
            self.outcomes.setdefault(mark.exercise, Counter())[mark.outcome] += 1
            feedback = mark.record["feedback"] or {"mistakes": (), "causes": ()}
            pairs = zip(feedback["mistakes"], feedback["causes"], strict=False)
            for mistake, message in pairs:
                self.mistakes.setdefault(mark.exercise, Counter())[mistake] += 1
                self.messages[mark.exercise, mistake] = message

    def commonest(self, limit: int = 12) -> list[tuple[str, str, int]]:
        """Return exercise, mistake and count, the commonest first."""
        found = [(e, m, n) for e, counts in self.mistakes.items() for m, n in counts.items()]
        return sorted(found, key=lambda item: (-item[2], item[0], item[1]))[:limit]


@dataclass(frozen=True)
class Results:
    """All marks of a run, made from the journal whenever they are asked for, learner by learner.

    A report that goes through them holds one learner's verdicts at a time, however large the class.

    Args:
        assignment: what was graded.
        sheets: of all submissions, in order of learners and attempts.
        journal: with the verdicts.
    """

    assignment: Assignment
    sheets: list[Sheet]
    journal: Journal

    def __iter__(self) -> Iterator[Row]:
        return self.rows()

    def rows(self) -> Iterator[Row]:
        """Yield the learners in order of their names."""
        for learner, group in groupby(self.sheets, key=lambda sheet: sheet.learner):
            attempts = list(group)
            marks = tuple(self._mark(attempts, name) for name in self.assignment.exercises)
            last = max(attempts, key=lambda sheet: (sheet.submitted, sheet.attempt))
            yield Row(learner, marks, last.submitted, last.late_seconds)

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield one plain record for each learner, attempt and exercise, in order."""
        for sheet in self.sheets:
            for exercise in self.assignment.exercises:
                record = self.journal.get(sheet.keys[exercise])
                kept = {k: v for k, v in record.items() if k not in _HIDDEN}
                mark = self._one(sheet, exercise)
                own = {"learner": sheet.learner, "attempt": sheet.attempt}
                score = {"points": mark.points, "worth": mark.worth, "share": sheet.share}
                seeds = {"seeds": record["seeds"], "submission": record["submission"]}
                yield {"schema": 1, **own, **kept, **own, **score, **seeds}

    def _mark(self, attempts: list[Sheet], exercise: str) -> Mark:
        marks = [self._one(sheet, exercise) for sheet in attempts]
        if self.assignment.keep == "last":
            return marks[-1]
        best = max(marks, key=_rank)
        lost = next((mark for mark in marks if mark.points is None), None)
        return lost if lost is not None and (best.points or 0.0) < best.worth else best

    def _one(self, sheet: Sheet, exercise: str) -> Mark:
        record = self.journal.get(sheet.keys[exercise])
        worth = self.assignment.worth(exercise)
        outcome = record["outcome"]
        points: float | None = None
        if outcome != "infra_error":
            points = round(worth * sheet.share, 6) if outcome == "passed" else 0.0
        return Mark(exercise, outcome, points, worth, sheet.attempt, sheet.share, record)


_MERIT = ("passed", "failed", "error", "timeout", "memory", "crashed", "protocol", "not_started")


def _rank(mark: Mark) -> tuple[float, int, str]:
    """Order attempts: points first, then how far the answer came, then the later one."""
    merit = -_MERIT.index(mark.outcome) if mark.outcome in _MERIT else -len(_MERIT)
    return (-1.0 if mark.points is None else mark.points, merit, mark.attempt)
