"""A class marked: assignment, secret and journal, the verdicts, the reports, and what is said."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from normcourse.checks.catalogue import UnknownExercise
from normcourse.grading import assignment as assignments
from normcourse.grading import batch, report, secret, submissions
from normcourse.grading.assignment import Assignment
from normcourse.grading.cluster import NoCluster, on_cluster
from normcourse.grading.desk import Order
from normcourse.grading.formats import machine_read, tables, write
from normcourse.grading.journal import Journal, JournalInUse
from normcourse.grading.results import Class, Results
from normcourse.grading.sandbox import NoSandbox
from normcourse.grading.slot import Slot

_BAD = (
    assignments.BadAssignment,
    submissions.BadSubmissions,
    secret.BadSecret,
    tables.BadTable,
    JournalInUse,
    NoCluster,
    NoSandbox,
    UnknownExercise,
)


def mark(order: Order, handed: list[submissions.Handed], slots: list[Slot], begun: float) -> int:
    """Grade what was handed in; see :func:`desk.grade`.

    Args:
        order: what was typed.
        handed: the submissions.
        slots: grading processes that were started and are choosing their sandboxes.
        begun: when the command began, by ``time.perf_counter``.
    """
    try:
        work, whole = _graded(order, handed, slots, begun)
    except (*_BAD, OSError) as problem:  # OSError: a full disk, a folder not to be written to
        return refused(problem, order)
    _summary(work, whole, order.out, time.perf_counter() - begun)
    return _exit_code(whole, strict=order.strict)


def refused(problem: Exception, order: Order) -> int:
    """Say why nothing, or not all, was graded; returns the exit code."""
    if not isinstance(problem, OSError):
        print(f"normcourse grade: {problem}", file=sys.stderr)
        return 2
    print(
        f"normcourse grade: {problem.filename or order.out}: {problem.strerror or problem}. "
        f"Verdicts reached so far are kept in {order.out / 'journal.jsonl'}; mend this and run "
        "the same command again.",
        file=sys.stderr,
    )
    return 3


def _graded(
    order: Order, handed: list[submissions.Handed], slots: list[Slot], begun: float
) -> tuple[batch.Run, Class]:
    people = tables.read_roster(order.roster) if order.roster else {}
    asked = _assignment(order, handed)
    again = frozenset(assignments.select(order.regrade, ()))
    if not report.folder_is_ours(order.out):
        raise submissions.BadSubmissions(f"{order.out}: holds other files. Give an empty folder.")
    key = secret.load(order.secret_file or secret.default_path(), results=order.out)
    grader = _grader(order, len(handed), slots)
    with Journal(order.out / "journal.jsonl") as journal:
        deadlines = {n: p.deadline for n, p in people.items() if p.deadline is not None}
        work = batch.Run(asked, key, journal, deadlines, again)
        with _progress(len(handed)) as tell:
            batch.run(work, handed, grader, tell=tell)
        results = Results(asked, work.sheets, journal)
        book = order.canvas_gradebook
        whole = report.write_all(results, order.out, people, canvas_gradebook=book)
        if order.gradescope_result is not None:
            _gradescope(results, order.gradescope_result, time.perf_counter() - begun)
    return work, whole


def _assignment(order: Order, handed: list[submissions.Handed]) -> Assignment:
    base = assignments.load(order.assignment) if order.assignment else Assignment(())
    if order.exercises or order.chapters:
        base = replace(base, exercises=assignments.select(order.exercises, order.chapters))
    if not base.exercises:
        base = replace(base, exercises=assignments.infer(handed))
    if not base.exercises:
        raise submissions.BadSubmissions(
            "no exercise of the course is defined in any submission. Name what is to be graded: "
            "--chapter batch_norm or --exercise batch_norm_forward."
        )
    return base


def _grader(order: Order, count: int, slots: list[Slot]) -> batch.Grader:
    if order.scheduler:
        return on_cluster(order.scheduler, unsafe=order.unsafe)
    kinds = [slot.chosen() for slot in slots]
    kind = kinds[0]
    safe = "" if kind.safe else " (NOT a full sandbox: no namespaces)"
    jobs = min(order.jobs, max(1, count))
    print(f"Sandbox: {kind}{safe}. {count} submissions, {jobs} jobs.", file=sys.stderr)
    return batch.on_this_machine(kind, jobs, started=slots)


def _progress(total: int) -> Any:
    """Return a progress bar with rate and time left, or on a plain terminal a line now and then."""
    if not sys.stderr.isatty():
        return nullcontext(_lines(total))
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    class Bar(Progress):
        def __enter__(self) -> Any:
            super().__enter__()
            number, begun = self.add_task("Grading", total=total, rate=""), time.monotonic()

            def tell(task: Any) -> None:
                done = self.tasks[0].completed + 1
                rate = f"{done / max(time.monotonic() - begun, 1e-9):.1f}/s"
                self.update(number, advance=1, rate=rate)

            return tell

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    return Bar(*columns, console=Console(stderr=True))


def _lines(total: int) -> Callable[[Any], None]:
    state = {"done": 0, "said": time.monotonic()}
    begun = time.monotonic()

    def tell(task: Any) -> None:
        state["done"] += 1
        now = time.monotonic()
        if now - state["said"] < 10 and state["done"] < total:
            return
        state["said"] = now
        rate = state["done"] / max(now - begun, 1e-9)
        left = (total - state["done"]) / rate
        words = f"{state['done']:.0f} of {total} submissions, {rate:.1f}/s, {left:.0f} s left"
        print(words, file=sys.stderr)

    return tell


def _gradescope(results: Results, path: Path, seconds: float) -> None:
    for row in results.rows():
        write(path, machine_read.gradescope(row, results.assignment, seconds=seconds))


def _summary(work: batch.Run, whole: Class, out: Path, seconds: float) -> None:
    """Say what was done, what came of it, and where it lies."""
    asked = work.assignment
    print(
        f"{whole.learners} learners, {len(asked.exercises)} exercises: {work.graded} verdicts "
        f"reached, {work.found} found in the journal, {seconds:.1f} s."
    )
    width = max(map(len, asked.exercises))
    for name in asked.exercises:
        counts = whole.outcomes.get(name, Counter())
        rest = ", ".join(
            f"{o.replace('_', ' ')} {n}" for o, n in sorted(counts.items()) if o != "passed"
        )
        print(
            f"  {name:<{width}}  {counts.get('passed', 0):>5} passed"
            + (f"; {rest}" if rest else "")
        )
    lost = sum(counts.get("infra_error", 0) for counts in whole.outcomes.values())
    if lost:
        print(
            f"{lost} verdicts could not be reached (the grader's own failure, not 0 points): "
            f"see {out / 'attention.csv'} and run the same command again."
        )
    print(f"Reports: {out / 'class.html'}, {out / 'learners'}, {out / 'grades.csv'}")


def _exit_code(whole: Class, *, strict: bool) -> int:
    """Return 0; 3 where marks are open; with ``strict`` 1 where something has not passed."""
    if any(counts.get("infra_error") for counts in whole.outcomes.values()):
        return 3
    passed = all(set(counts) == {"passed"} for counts in whole.outcomes.values())
    return 0 if passed or not strict else 1
