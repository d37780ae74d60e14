"""The commands of the workshop: what ``make course`` and its sisters do."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from normcourse.workshop import WORDS
from normcourse.workshop.console import Trouble, run, say
from normcourse.workshop.environment import ensure

__all__ = ["main", "root"]

#: Set in the second process, the one that runs in the environment.
INSIDE = "NORMCOURSE_INSIDE"
BY_PRODUCTS = (
    "_build",
    ".pytest_cache",
    ".mypy_cache",
    ".ruff_cache",
    ".hypothesis",
    ".benchmarks",
)


def root() -> Path:
    """The folder of the course, two above this package.

    Raises:
        Trouble: the package was installed without the course around it.
    """
    folder = Path(__file__).resolve().parents[2]
    if not (folder / "requirements.txt").is_file():
        raise Trouble("this command needs a clone of the course; here is only the package")
    return folder


def main(words: Sequence[str]) -> int:
    """Run one command; 0 when it did what was asked, 1 on a problem, 130 when interrupted."""
    for output in (sys.stdout, sys.stderr):
        if hasattr(output, "reconfigure"):
            output.reconfigure(errors="replace")
    options = _parser().parse_args(words)
    try:
        return _clean(root()) if options.word == "clean" else _in_environment(options, words)
    except Trouble as trouble:
        say(f"\n{trouble}")
        return 1
    except KeyboardInterrupt:
        say("\nStopped. The same command continues.")
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m normcourse", allow_abbrev=False)
    commands = parser.add_subparsers(dest="word", required=True)
    added = {word: commands.add_parser(word, help=line) for word, line in WORDS.items()}
    for word in ("course", "book", "setup"):
        added[word].add_argument(
            "--light",
            action="store_true",
            default=os.environ.get("LIGHT", "") not in ("", "0"),
            help="without PyTorch: text, exercises and quizzes, but cells without outputs",
        )
    added["course"].add_argument(
        "--port", type=int, default=os.environ.get("PORT") or "8000", help="default: 8000"
    )
    added["test"].add_argument(
        "--only", default=os.environ.get("ONLY", ""), help="stages, with commas: lint,types,units"
    )
    return parser


def _in_environment(options: argparse.Namespace, words: Sequence[str]) -> int:
    """Make sure of the environment, then do the work with its Python."""
    here = root()
    if os.environ.get(INSIDE) == str(here):
        return _work(options, here)
    python = ensure(here, light=getattr(options, "light", False))
    if options.word == "setup":
        say(f"The environment is ready: {python}")
        return 0
    env = {**os.environ, INSIDE: str(here)}
    command = [str(python), "-m", "normcourse", *words]
    os.chdir(here)
    if os.name != "nt":
        sys.stdout.flush()
        os.execve(command[0], command, env)  # one process: Ctrl-C and exit codes as they are
    try:
        return subprocess.call(command, env=env)
    except KeyboardInterrupt:  # the other process has had it too, and has said so
        return 130


def _work(options: argparse.Namespace, here: Path) -> int:
    """The part of a command that needs the environment."""
    if options.word in ("lint", "test"):
        return _test(here, options.only if options.word == "test" else "lint")
    if options.word == "exercises":
        return run([sys.executable, "-m", "normcourse.checks.build"], cwd=here)[0]
    from normcourse.workshop.book import Book
    from normcourse.workshop.serve import serve

    book = Book(here, light=options.light)
    book.ensure()
    if options.light:
        say(
            "Light: without PyTorch the cells of the chapters show no outputs; the NumPy exercises "
            "work in the terminal and in a notebook."
        )
    if options.word == "course":
        serve(book.html, options.port)
    else:
        say(f"The book is in {book.html}")
    return 0


def _test(here: Path, only: str) -> int:
    from normcourse.workshop.stages import STAGES, run_stages

    names = [name for name in only.replace(",", " ").split() if name]
    unknown = set(names) - {stage.name for stage in STAGES}
    if unknown:
        known = ", ".join(stage.name for stage in STAGES)
        raise Trouble(f"no stage {', '.join(sorted(unknown))}; there are {known}")
    chosen = [stage for stage in STAGES if not names or stage.name in names]
    return 0 if run_stages(here, chosen) else 1


def _clean(here: Path) -> int:
    for name in BY_PRODUCTS:
        if (here / name).exists():
            shutil.rmtree(here / name)
            say(f"removed {name}")
    say("Clean. The environment (.venv) and your progress are untouched.")
    return 0
