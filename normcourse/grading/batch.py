"""A class at a time: submissions in, verdicts into the journal, on all cores, to be resumed.

The order in which submissions are graded changes nothing: inputs depend on the submission alone,
and reports are made from the journal afterwards.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field
from typing import Any

from normcourse.grading.assignment import Assignment, engine, fingerprint, key
from normcourse.grading.journal import SCHEMA, Journal
from normcourse.grading.sandbox import Kind
from normcourse.grading.secret import Secret
from normcourse.grading.slot import Slot
from normcourse.grading.submissions import Handed, Submission
from normcourse.grading.verdict import seeds
from normcourse.grading.zips import Archives

Task = dict[str, Any]
Done = tuple[Task, list[dict[str, Any]]]
Grader = Callable[[Iterator[Task]], Iterator[Done]]


@dataclass(frozen=True)
class Sheet:
    """What one submission came to: where its verdicts lie, and what else counts.

    Args:
        learner: who.
        attempt: which.
        share: of a score that lateness leaves.
        late_seconds: after the deadline, 0 if in time.
        submitted: seconds since 1970.
        keys: exercise to the journal's key.
    """

    learner: str
    attempt: str
    share: float
    late_seconds: float
    submitted: float
    keys: dict[str, str]


@dataclass
class Run:
    """One call of the grader.

    Args:
        assignment: what is graded.
        secret: the inputs depend on it.
        journal: of this folder.
        deadlines: a learner's own deadline, where it differs.
        regrade: exercises to judge again whatever the journal holds.
    """

    assignment: Assignment
    secret: Secret
    journal: Journal
    deadlines: dict[str, float] = field(default_factory=dict)
    regrade: frozenset[str] = frozenset()
    sheets: list[Sheet] = field(default_factory=list)
    graded: int = 0
    found: int = 0

    def tasks(self, handed: Iterable[Handed], seen: Callable[[], None]) -> Iterator[Task]:
        """Yield what has to be graded, one submission at a time; the rest is in the journal."""
        with closing(Archives()) as archives:
            yield from self._tasks((one.read(archives) for one in handed), seen)

    def _tasks(self, submissions: Iterable[Submission], seen: Callable[[], None]) -> Iterator[Task]:
        asked: set[str] = set()
        for submission in submissions:
            keys = self._keys(submission)
            self.sheets.append(self._sheet(submission, keys))
            open_ones = [
                (name, seeds(self.secret.key, submission.digest, name))
                for name, where in keys.items()
                if where not in asked and (name in self.regrade or where not in self.journal)
            ]
            asked.update(keys.values())  # equal files are graded once
            self.found += len(keys) - len(open_ones)
            if not open_ones:
                seen()
                continue
            yield {
                "learner": submission.learner,
                "attempt": submission.attempt,
                "digest": submission.digest,
                "files": submission.files,
                "problems": list(submission.problems),
                "exercises": open_ones,
                "keys": keys,
                "limits": asdict(self.assignment.limits),
                "policy": self.assignment.policy,
            }

    def record(self, task: Task, verdicts: list[dict[str, Any]]) -> None:
        """Write the verdicts of a task into the journal."""
        common = {
            "schema": SCHEMA,
            "learner": task["learner"],
            "attempt": task["attempt"],
            "submission": task["digest"],
            "engine": engine(),
        }
        records = []
        for verdict in verdicts:
            name = verdict["exercise"]
            own = {"key": task["keys"][name], "judge": fingerprint(name)}
            records.append({**common, **verdict, **own})
        self.journal.add(records)
        self.graded += len(records)

    def _keys(self, submission: Submission) -> dict[str, str]:
        said = "\n".join(submission.problems)
        digest = f"{submission.digest}|{said}" if said else submission.digest
        return {
            name: key(digest, name, self.assignment, self.secret.id)
            for name in self.assignment.exercises
        }

    def _sheet(self, submission: Submission, keys: dict[str, str]) -> Sheet:
        own = self.deadlines.get(submission.learner)
        until = self.assignment.deadline if own is None else own
        late = max(0.0, submission.submitted - until) if until is not None else 0.0
        share = self.assignment.share(submission, own)
        return Sheet(
            submission.learner, submission.attempt, share, late, submission.submitted, keys
        )


def run(
    work: Run,
    handed: Iterable[Handed],
    grader: Grader,
    *,
    tell: Callable[[Task | None], None] = lambda task: None,
) -> None:
    """Grade what is open and write every verdict as it comes.

    Args:
        work: assignment, secret and journal.
        handed: the submissions.
        grader: :func:`on_this_machine` or :func:`cluster.on_cluster`.
        tell: called once for each submission, with its task, or None if nothing was open.
    """
    for task, verdicts in grader(work.tasks(handed, lambda: tell(None))):
        work.record(task, verdicts)
        tell(task)
    work.sheets.sort(key=lambda sheet: (sheet.learner, sheet.attempt))


def on_this_machine(kind: Kind, jobs: int, *, started: Iterable[Slot] = ()) -> Grader:
    """Return a grader that keeps ``jobs`` processes busy, each with a sandbox of its own.

    Args:
        kind: of the sandboxes.
        jobs: how many.
        started: processes that were started beforehand; they are used first, and whoever started
            them waits for their end.
    """

    def grade(tasks: Iterator[Task]) -> Iterator[Done]:
        waiting: queue.Queue[Task | None] = queue.Queue()
        done: queue.Queue[Done | BaseException] = queue.Queue()
        given = list(started)[:jobs]
        own = [Slot(kind) for _ in range(jobs - len(given))]
        threads = [_worker(slot, slot.dismiss, waiting, done) for slot in given]
        threads += [_worker(slot, slot.close, waiting, done) for slot in own]
        try:
            yield from _pumped(tasks, waiting, done, ahead=2 * jobs)
        finally:
            while not waiting.empty():
                waiting.get_nowait()
            for _ in threads:
                waiting.put(None)
            for thread in threads:
                thread.join()

    return grade


def _worker(
    slot: Slot,
    leave: Callable[[], None],
    waiting: queue.Queue[Task | None],
    done: queue.Queue[Done | BaseException],
) -> threading.Thread:
    """Start a thread that hands tasks to one slot until it is given None, then leaves it."""

    def serve() -> None:
        try:
            while (task := waiting.get()) is not None:
                try:
                    done.put((task, slot.grade(task)))
                except BaseException as error:
                    done.put(error)
        finally:
            leave()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return thread


def _pumped(
    tasks: Iterator[Task],
    waiting: queue.Queue[Task | None],
    done: queue.Queue[Done | BaseException],
    *,
    ahead: int,
) -> Iterator[Done]:
    """Yield results; no more than ``ahead`` submissions are in memory at a time."""
    pending = 0
    for task in tasks:
        waiting.put(task)
        pending += 1
        while pending >= ahead:
            yield _result(done)
            pending -= 1
    for _ in range(pending):
        yield _result(done)


def _result(done: queue.Queue[Done | BaseException]) -> Done:
    result = done.get()
    if isinstance(result, BaseException):
        raise result
    return result
