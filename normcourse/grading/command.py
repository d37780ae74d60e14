"""The command ``grade``: a folder of submissions in, marks and reports out."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from normcourse.checks.catalogue import UnknownExercise
from normcourse.grading import assignment as assignments
from normcourse.grading import batch, report, secret, selftest, submissions
from normcourse.grading.assignment import Assignment
from normcourse.grading.formats import kits, machine_read, tables, write
from normcourse.grading.journal import Journal, JournalInUse
from normcourse.grading.results import Class, Results
from normcourse.grading.sandbox import NoSandbox

_BAD = (
    assignments.BadAssignment,
    submissions.BadSubmissions,
    secret.BadSecret,
    tables.BadTable,
    JournalInUse,
    NoSandbox,
    UnknownExercise,
)


def grade(
    given: Annotated[Path, typer.Argument(metavar="SUBMISSIONS", help="Folder, zip or file.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where journal and reports go.")],
    assignment: Annotated[
        Path | None, typer.Option(metavar="TOML", help="Exercises, points, deadline, limits.")
    ] = None,
    exercise: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Grade this exercise; repeatable.")
    ] = None,
    chapter: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Grade this chapter; repeatable.")
    ] = None,
    roster: Annotated[
        Path | None, typer.Option(metavar="CSV", help="learner, name, email, id, deadline.")
    ] = None,
    canvas_gradebook: Annotated[
        Path | None, typer.Option(metavar="CSV", help="Exported from Canvas, to be filled in.")
    ] = None,
    single: Annotated[
        str, typer.Option(metavar="NAME", help="Everything belongs to this one learner.")
    ] = "",
    jobs: Annotated[
        int, typer.Option(min=1, help="Processes side by side.", show_default="all cores")
    ] = os.cpu_count() or 1,
    scheduler: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Grade on this Dask scheduler's workers.")
    ] = "",
    regrade: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Judge this exercise again; repeatable.")
    ] = None,
    secret_file: Annotated[
        Path | None,
        typer.Option("--secret", metavar="FILE", help="The inputs are drawn from it."),
    ] = None,
    gradescope_result: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write Gradescope's results.json here.")
    ] = None,
    unsafe: Annotated[
        bool, typer.Option("--unsafe", help="Go on without namespaces where there are none.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 unless every exercise has passed.")
    ] = False,
) -> int:
    """Grade submissions in a sandbox. The same command again resumes and grades what changed."""
    begun = time.perf_counter()
    try:
        people = tables.read_roster(roster) if roster else {}
        handed = submissions.find(given, single=single)
        asked = _assignment(assignment, exercise or [], chapter or [], handed)
        again = frozenset(assignments.select(regrade or (), ()))
        if not report.folder_is_ours(out):
            raise submissions.BadSubmissions(f"{out}: holds other files. Give an empty folder.")
        key = secret.load(secret_file or secret.default_path(), results=out)
        with Journal(out / "journal.jsonl") as journal:
            deadlines = {n: p.deadline for n, p in people.items() if p.deadline is not None}
            work = batch.Run(asked, key, journal, deadlines, again)
            _run(work, handed, jobs, scheduler, unsafe=unsafe)
            results = Results(asked, work.sheets, journal)
            whole = report.write_all(results, out, people, canvas_gradebook=canvas_gradebook)
            if gradescope_result is not None:
                _gradescope(results, gradescope_result, time.perf_counter() - begun)
    except _BAD as problem:
        print(f"normcourse grade: {problem}", file=sys.stderr)
        return 2
    _summary(work, whole, asked, out, time.perf_counter() - begun)
    return _exit_code(whole, strict=strict)


def kit(
    platform: Annotated[str, typer.Argument(metavar="gradescope|github")],
    out: Annotated[Path, typer.Argument(metavar="FILE", help="Autograder zip or workflow file.")],
    assignment: Annotated[Path | None, typer.Option(metavar="TOML")] = None,
    package: Annotated[
        str, typer.Option(help="What pip installs in the workflow: an address or a name.")
    ] = "normcourse",
) -> int:
    """Write Gradescope's autograder zip or a workflow for GitHub Classroom."""
    try:
        asked = assignments.load(assignment) if assignment else None
    except assignments.BadAssignment as problem:
        print(f"normcourse grade-kit: {problem}", file=sys.stderr)
        return 2
    chosen = list(asked.exercises) if asked else []
    if platform == "github":
        write(out, kits.github_workflow(chosen, package=package))
    elif platform == "gradescope" and assignment is not None:
        torch = any(assignments.find(name).runtime == "torch" for name in chosen)
        out.parent.mkdir(parents=True, exist_ok=True)
        text = assignment.read_text(encoding="utf-8")
        out.write_bytes(kits.gradescope_zip(text, torch=torch))
    else:
        print(
            "normcourse grade-kit: expected `gradescope FILE.zip --assignment FILE.toml` or "
            "`github FILE.yml`.",
            file=sys.stderr,
        )
        return 2
    print(f"Wrote {out}")
    return 0


def _assignment(
    path: Path | None, exercises: list[str], chapters: list[str], handed: list[submissions.Handed]
) -> Assignment:
    base = assignments.load(path) if path else Assignment(())
    if exercises or chapters:
        base = replace(base, exercises=assignments.select(exercises, chapters))
    if not base.exercises:
        base = replace(base, exercises=assignments.infer(handed))
    if not base.exercises:
        raise submissions.BadSubmissions(
            "no exercise of the course is defined in any submission. Name what is to be graded: "
            "--chapter batch_norm or --exercise batch_norm_forward."
        )
    return base


def _run(
    work: batch.Run,
    handed: list[submissions.Handed],
    jobs: int,
    scheduler: str,
    *,
    unsafe: bool,
) -> None:
    if scheduler:
        from normcourse.grading.cluster import on_cluster

        grader = on_cluster(scheduler, unsafe=unsafe)
    else:
        kind = selftest.choose(unsafe=unsafe)
        safe = "" if kind.safe else " (NOT a full sandbox: no namespaces)"
        print(f"Sandbox: {kind}{safe}. {len(handed)} submissions, {jobs} jobs.", file=sys.stderr)
        grader = batch.on_this_machine(kind, min(jobs, max(1, len(handed))))
    with _progress(len(handed)) as tell:
        batch.run(work, handed, grader, tell=tell)


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


def _summary(
    work: batch.Run, whole: Class, asked: Assignment, out: Path, seconds: float
) -> None:
    """Say what was done, what came of it, and where it lies."""
    print(
        f"{whole.learners} learners, {len(asked.exercises)} exercises: {work.graded} verdicts "
        f"reached, {work.found} found in the journal, {seconds:.1f} s."
    )
    width = max(map(len, asked.exercises))
    for name in asked.exercises:
        counts = whole.outcomes.get(name, {})
        rest = ", ".join(f"{o.replace('_', ' ')} {n}" for o, n in sorted(counts.items()) if o != "passed")
        print(f"  {name:<{width}}  {counts.get('passed', 0):>5} passed" + (f"; {rest}" if rest else ""))
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


def main() -> None:
    """Run ``grade`` alone, where the rest of the command line is not installed."""
    app = typer.Typer(add_completion=False)
    app.command()(_exiting(grade))
    app()


def _exiting(command: Callable[..., int]) -> Callable[..., None]:
    import functools

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        raise typer.Exit(command(*args, **kwargs))

    return run


if __name__ == "__main__":
    main()
