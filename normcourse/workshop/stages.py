"""``make test``: the stages, one after the other, and the table at the end."""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from normcourse.workshop.book import Book, check_pages
from normcourse.workshop.console import Trouble, duration, run, say
from normcourse.workshop.execute import cores
from normcourse.workshop.notebooks import environment, notebooks

__all__ = ["STAGES", "Outcome", "Stage", "find_chromium", "run_stages"]

CLOSING = re.compile(r"^=* ?(.*\b(?:passed|failed|error|errors|skipped|no tests ran)\b.*?) ?=*$")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PASSED, FAILED, SKIPPED = "passed", "FAILED", "skipped"


@dataclass(frozen=True)
class Outcome:
    """How a stage ended, and one line about it."""

    status: str
    detail: str = ""


@dataclass(frozen=True)
class Stage:
    """One part of ``make test``: its name, what it does, what it needs to have passed."""

    name: str
    title: str
    action: Callable[[Path], Outcome]
    needs: tuple[str, ...] = ()


def find_chromium() -> str | None:
    """The Chromium for the browser tests: ``NORMCOURSE_CHROMIUM``, else what is on the path."""
    named = os.environ.get("NORMCOURSE_CHROMIUM")
    return named or next(filter(None, map(shutil.which, BROWSERS)), None)


def run_stages(root: Path, stages: Sequence[Stage]) -> bool:
    """Run all stages, each announced and timed; a failure stops only those that need it.

    Args:
        root: the folder of the course.
        stages: in the order to run.

    Returns:
        Whether none failed.
    """
    results: dict[str, tuple[Outcome, float]] = {}
    for number, stage in enumerate(stages, start=1):
        say(f"\n--- {number}/{len(stages)} {stage.name}: {stage.title}")
        start = time.monotonic()
        blocked = [n for n in stage.needs if n in results and results[n][0].status != PASSED]
        if blocked:
            outcome = Outcome(FAILED, f"not run: needs {', '.join(blocked)}")
        else:
            try:
                outcome = stage.action(root)
            except Trouble as trouble:
                say(str(trouble))
                outcome = Outcome(FAILED, str(trouble).partition("\n")[0])
        seconds = time.monotonic() - start
        results[stage.name] = (outcome, seconds)
        say(f"--- {stage.name}: {outcome.status} in {duration(seconds)}  {outcome.detail}")
    _table(results)
    return all(outcome.status != FAILED for outcome, _ in results.values())


def _table(results: dict[str, tuple[Outcome, float]]) -> None:
    width = max(map(len, results))
    say("\nSummary")
    for name, (outcome, seconds) in results.items():
        say(f"  {name:<{width}}  {outcome.status:<7}  {duration(seconds):>12}  {outcome.detail}")
    total = sum(seconds for _, seconds in results.values())
    failed = [name for name, (outcome, _) in results.items() if outcome.status == FAILED]
    verdict = f"FAILED: {', '.join(failed)}" if failed else "all passed"
    say(f"  {'total':<{width}}  {'':<7}  {duration(total):>12}  {verdict}")


def _python(root: Path, *words: str) -> tuple[int, str]:
    """Run a module of the environment, its output shown."""
    say("$ python -m " + " ".join(words))
    return run([sys.executable, "-m", *words], cwd=root, env=environment(root))


def _pytest(root: Path, *words: str, parallel: bool = True) -> Outcome:
    """Run pytest; its closing line becomes the detail."""
    split = ["-n", str(cores()), "--dist", "loadgroup", "--benchmark-disable"] if parallel else []
    code, output = _python(root, "pytest", *split, *words)
    closing = [match[1] for line in output.splitlines() if (match := CLOSING.match(line))]
    return Outcome(FAILED if code else PASSED, closing[-1] if closing else f"exit code {code}")


def lint(root: Path) -> Outcome:
    """Style, format, notebooks without outputs, generated files as their sources say."""
    books = [path.relative_to(root).as_posix() for path in notebooks(root)]
    commands = {
        "ruff check": ("ruff", "check", "."),
        "ruff format": ("ruff", "format", "--check", "."),
        "nbstripout": ("nbstripout", "--verify", "--keep-id", *books),
        "generated files": ("normcourse.checks.build", "--check"),
    }
    failed = [name for name, words in commands.items() if _python(root, *words)[0]]
    return Outcome(FAILED, ", ".join(failed)) if failed else Outcome(PASSED, ", ".join(commands))


def types(root: Path) -> Outcome:
    """mypy over the package."""
    code, output = _python(root, "mypy")
    return Outcome(FAILED if code else PASSED, output.strip().rpartition("\n")[2])


def units(root: Path) -> Outcome:
    """The tests of tests/, except those in a browser."""
    return _pytest(root, "-m", "not browser", "tests")


def doctests(root: Path) -> Outcome:
    """Every example in a docstring."""
    gpu = () if find_spec("triton") else ("--ignore=normcourse/kernels/gpu",)  # Linux alone has it
    return _pytest(root, "--doctest-modules", *gpu, "normcourse")


def notebooks_stage(root: Path) -> Outcome:
    """Every notebook by nbval; the outputs are stored for the book."""
    plugin = ("-p", "normcourse.workshop.nbval_plugin", "--nbval-lax", "--nbval-current-env")
    limits = ("--nbval-cell-timeout", "600", "--dist", "loadfile")
    paths = [path.relative_to(root).as_posix() for path in notebooks(root)]
    return _pytest(root, *plugin, *limits, *paths)


def book(root: Path) -> Outcome:
    """The whole book, warnings as errors."""
    executed = Book(root).make(fresh=True)
    return Outcome(PASSED, f"{executed} notebooks executed, the others read from the store")


def pages(root: Path) -> Outcome:
    """As many pages as the table of contents lists."""
    return Outcome(PASSED, f"{check_pages(root, Book(root).html)} pages, as _toc.yml lists")


def browser(root: Path) -> Outcome:
    """The built site in Chromium."""
    if not (root / "tests" / "browser").is_dir():
        return Outcome(SKIPPED, "there are no tests in tests/browser")
    if find_chromium() is None:
        return Outcome(SKIPPED, "no Chromium here (Debian: sudo apt-get install chromium)")
    return _pytest(root, "-m", "browser", "tests/browser", parallel=False)


STAGES = (
    Stage("lint", "ruff, stripped notebooks, generated files", lint),
    Stage("types", "mypy", types),
    Stage("units", "tests of the package", units),
    Stage("doctests", "examples in docstrings", doctests),
    Stage("notebooks", "every notebook, by nbval", notebooks_stage),
    Stage("book", "jupyter-book build -W -n --keep-going", book),
    Stage("pages", "built pages against _toc.yml", pages, needs=("book",)),
    Stage("browser", "the built site in Chromium", browser, needs=("book",)),
)
