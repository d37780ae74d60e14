"""A folder of submissions in, marks and reports out: what the command ``grade`` does.

The grading processes are started first and load while the rest is loaded here, which is why most
of it is imported in functions; :mod:`marking` is that rest.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from normcourse.grading import submissions
from normcourse.grading.slot import Slot


@dataclass(frozen=True)
class Order:
    """What was typed; see ``normcourse grade --help``."""

    given: Path
    out: Path
    assignment: Path | None = None
    exercises: list[str] = field(default_factory=list)
    chapters: list[str] = field(default_factory=list)
    roster: Path | None = None
    canvas_gradebook: Path | None = None
    single: str = ""
    jobs: int = 1
    scheduler: str = ""
    regrade: list[str] = field(default_factory=list)
    secret_file: Path | None = None
    gradescope_result: Path | None = None
    unsafe: bool = False
    strict: bool = False


def grade(order: Order) -> int:
    """Grade, write the reports, say what came of it.

    Returns:
        0; 1 with ``strict`` unless all has passed; 2 on bad input; 3 where marks are open
        or could not be written.
    """
    begun = time.perf_counter()
    try:
        handed = submissions.find(order.given, single=order.single)
    except (submissions.BadSubmissions, OSError) as problem:
        from normcourse.grading.marking import refused

        return refused(problem, order)
    with _started(order, len(handed)) as slots:
        from normcourse.grading.marking import mark

        return mark(order, handed, slots, begun)


def write_kit(platform: str, out: Path, assignment: Path | None, package: str) -> int:
    """Write what a platform needs to run the grader itself."""
    from normcourse.checks.catalogue import listed
    from normcourse.grading import assignment as assignments
    from normcourse.grading.formats import kits, write

    try:
        asked = assignments.load(assignment) if assignment else None
    except assignments.BadAssignment as problem:
        print(f"normcourse grade-kit: {problem}", file=sys.stderr)
        return 2
    chosen = list(asked.exercises) if asked else []
    if platform == "github":
        write(out, kits.github_workflow(chosen, package=package))
    elif platform == "gradescope" and assignment is not None:
        torch = any(listed()[name].runtime == "torch" for name in chosen)
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


@contextmanager
def _started(order: Order, count: int) -> Iterator[list[Slot]]:
    """Start the grading processes, each with a sandbox that it proves; end them for sure."""
    jobs = 0 if order.scheduler else min(order.jobs, count)
    slots = [Slot() for _ in range(jobs)]
    try:
        for slot in slots:
            slot.choose(unsafe=order.unsafe)
        yield slots
    finally:
        for slot in slots:
            slot.close()
