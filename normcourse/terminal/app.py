"""The command line in typer: names, arguments and help; the work is done by the other modules."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from normcourse.evidence.command import evidence
from normcourse.grading.typed import grade, kit
from normcourse.terminal.screen import screen

# Boxes and colours of the help only where they can be seen.
_MARKUP: typer.core.MarkupMode = "rich" if screen().fancy else None
_OPTIONS = {"help_option_names": ["-h", "--help"]}

app = typer.Typer(
    name="normcourse",
    help="Solve the exercises of the course. `make course` opens the book.",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=_MARKUP,
    pretty_exceptions_enable=False,
    context_settings=_OPTIONS,
)
dev = typer.Typer(help="For those who write exercises.", no_args_is_help=True)
app.add_typer(dev, name="dev")

Ids = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="ID...", help="Exercises; all of the file if none is named.", show_default=False
    ),
]
Id = Annotated[str, typer.Argument(metavar="ID", help="The exercise: the name of its function.")]
AnswerFile = Annotated[Path, typer.Argument(metavar="FILE", help="A notebook or a .py file.")]
ProgressFile = Annotated[
    Path | None, typer.Option("--file", help="Where progress is kept, if not in the usual place.")
]
TimeLimit = Annotated[
    float | None, typer.Option(help="Seconds per exercise.", show_default="10", metavar="SECONDS")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


@app.command()
def start(
    folder: Annotated[Path, typer.Argument(metavar="DIR")] = Path("my_normcourse"),
) -> int:
    """Make your own copy of the notebooks. What you changed stays as it is."""
    from normcourse.terminal.copies import start

    return start(folder, screen())


@app.command()
def check(
    file: AnswerFile,
    ids: Ids = None,
    time_limit: TimeLimit = None,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON each.")] = False,
    progress_file: ProgressFile = None,
) -> int:
    """Judge your answers. Says what is right, what is wrong, and why."""
    from normcourse.terminal.check import check

    return check(
        file, ids or (), time_limit=time_limit, as_json=as_json, progress_file=progress_file
    )


@app.command()
def watch(
    file: AnswerFile,
    ids: Ids = None,
    time_limit: TimeLimit = None,
    progress_file: ProgressFile = None,
) -> int:
    """Check whenever you save. Keys: h hint, n next, a again, q quit."""
    from normcourse.terminal.check import limit_of
    from normcourse.terminal.record import Record
    from normcourse.terminal.task import task_of
    from normcourse.terminal.watch import Watch, keyboard, watch

    task_of(file, ids or ())  # bad input ends it before it begins
    watching = Watch(file, ids or (), limit_of(time_limit), Record(progress_file), screen())
    with keyboard() as keys:
        return watch(watching, keys)


@app.command()
def hint(
    exercise: Id,
    number: Annotated[int | None, typer.Option(help="Read this one again.")] = None,
    progress_file: ProgressFile = None,
) -> int:
    """Show the next hint. There are three, from a question to almost the line."""
    from normcourse.terminal.learn import hint
    from normcourse.terminal.record import Record

    return hint(exercise, Record(progress_file), screen(), number=number)


@app.command()
def solution(exercise: Id, yes: Yes = False, progress_file: ProgressFile = None) -> int:
    """Show a solution and its reason. Asks first unless you have passed."""
    from normcourse.terminal.learn import solution
    from normcourse.terminal.record import Record

    return solution(exercise, Record(progress_file), screen(), _asker(yes))


@app.command()
def progress(
    every: Annotated[bool, typer.Option("--all", "-a", help="List every exercise.")] = False,
    export: Annotated[Path | None, typer.Option(help="Write your progress to a file.")] = None,
    import_: Annotated[
        Path | None, typer.Option("--import", help="Add another progress file to yours.")
    ] = None,
    yes: Yes = False,
    progress_file: ProgressFile = None,
) -> int:
    """Show how far you are. Carries it to another machine and back, too."""
    from normcourse.terminal import learn
    from normcourse.terminal.record import Record

    record, out = Record(progress_file), screen()
    if import_ is not None:
        code = learn.import_progress(import_, record, out)
        return code or (learn.export_progress(export, record, out, _asker(yes)) if export else 0)
    if export is not None:
        return learn.export_progress(export, record, out, _asker(yes))
    return learn.overview(record, out, every=every)


@app.command("next")
def next_(progress_file: ProgressFile = None) -> int:
    """Show the next exercise and how to open it."""
    from normcourse.terminal.learn import next_up
    from normcourse.terminal.record import Record

    return next_up(Record(progress_file), screen())


@app.command()
def reset(
    what: Annotated[list[str], typer.Argument(metavar="ID...|FILE", show_default=False)],
    yes: Yes = False,
    progress_file: ProgressFile = None,
) -> int:
    """Begin anew. Forgets verdicts (ID) or puts stubs back into your FILE."""
    first = Path(what[0])
    if first.suffix in (".ipynb", ".py") or first.exists() or len(first.parts) > 1:
        from normcourse.terminal.copies import reset_file

        return reset_file(first, what[1:], screen(), _asker(yes))
    from normcourse.terminal.learn import forget
    from normcourse.terminal.record import Record

    return forget(what, Record(progress_file), screen(), _asker(yes))


@app.command()
def serve(port: Annotated[int, typer.Option(help="The first port to try.")] = 8000) -> int:
    """Serve the built book on this machine."""
    from normcourse.terminal import BadInput
    from normcourse.workshop.commands import root
    from normcourse.workshop.console import Trouble
    from normcourse.workshop.serve import serve

    try:
        folder = root() / "_build" / "html"
        if not (folder / "index.html").is_file():
            raise BadInput("the book is not built yet. `make book` builds it.")
        serve(folder, port)
    except Trouble as trouble:
        raise BadInput(str(trouble)) from None
    return 0


@app.command()
def bench(
    what: Annotated[
        str,
        typer.Argument(
            metavar="[norms|gpu]", help="norms: the fused kernels; gpu: cells for a GPU."
        ),
    ] = "verdicts",
    repeats: Annotated[int, typer.Option(min=2, help="Repetitions of each time.")] = 10,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures.")] = None,
    device: Annotated[str, typer.Option(help="For norms: cpu, cuda, or all that is here.")] = "all",
) -> int:
    """Measure what a verdict costs, how near the norms come to memory's speed, or a GPU.

    `gpu` runs the %%gpu cells of ./book where CUDA is, and keeps their results.
    """
    if what == "gpu":
        from normcourse import gpu

        return gpu.bench(screen(), sorted(Path("book").glob("*.ipynb")))
    if what == "norms":
        from normcourse.kernels.bench import DEVICES
        from normcourse.kernels.bench import bench as bench_norms

        if device not in DEVICES:
            raise typer.BadParameter(f"expected one of {', '.join(DEVICES)}, got {device!r}.")
        return bench_norms(screen(), rounds=repeats, device=device, json_file=json_file)
    if what != "verdicts":
        raise typer.BadParameter(f"expected nothing, norms or gpu, got {what!r}.")
    from normcourse.terminal.bench import bench

    return bench(screen(), repeats=repeats, json_file=json_file)


@dev.command("check")
def dev_check(
    ids: Ids = None,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds per solution.")] = 20,
) -> int:
    """Prove the judges: stubs not started, solutions pass, every mistake rejected and named."""
    from normcourse.terminal.proof import dev_check

    return dev_check(ids or (), screen(), seeds=seeds)


app.command()(grade)
app.command("grade-kit")(kit)
app.add_typer(evidence, name="evidence")


def _version(wanted: bool) -> None:
    if wanted:
        from normcourse import __version__

        print(f"normcourse {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


def _asker(yes: bool) -> Callable[[str], bool]:
    """Return what asks before something is shown, forgotten or replaced."""
    return (lambda question: True) if yes else _ask


def _ask(question: str) -> bool:
    if not sys.stdin.isatty():
        print(f"normcourse: {question} Say so with --yes.", file=sys.stderr)
        return False
    return typer.confirm(question, default=False)
