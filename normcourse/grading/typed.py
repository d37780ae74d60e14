"""The commands ``grade`` and ``grade-kit`` as typer reads them; :mod:`desk` and below do the work.

A plain ``grade`` goes past it (:mod:`command`); a test holds that both understand the same options.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer


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
    from normcourse.grading.desk import Order, grade

    order = Order(
        given,
        out,
        assignment=assignment,
        exercises=exercise or [],
        chapters=chapter or [],
        roster=roster,
        canvas_gradebook=canvas_gradebook,
        single=single,
        jobs=jobs,
        scheduler=scheduler,
        regrade=regrade or [],
        secret_file=secret_file,
        gradescope_result=gradescope_result,
        unsafe=unsafe,
        strict=strict,
    )
    return grade(order)


def kit(
    platform: Annotated[str, typer.Argument(metavar="gradescope|github")],
    out: Annotated[Path, typer.Argument(metavar="FILE", help="Autograder zip or workflow file.")],
    assignment: Annotated[Path | None, typer.Option(metavar="TOML")] = None,
    package: Annotated[
        str, typer.Option(help="What pip installs in the workflow: an address or a name.")
    ] = "normcourse",
) -> int:
    """Write Gradescope's autograder zip or a workflow for GitHub Classroom."""
    from normcourse.grading.desk import write_kit

    return write_kit(platform, out, assignment, package)


def run_alone() -> int:
    """Run ``grade`` alone; returns the exit code."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(grade)
    code = app(standalone_mode=False)
    return code if isinstance(code, int) else 0
