"""``grade`` without typer, whose import costs more than NumPy's, for a line that says all it needs.

Whatever is not plainly an order (a request for help, an option that is unknown, a value that cannot
be) is left to :mod:`typed`, which says so.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from normcourse.grading.desk import Order, grade


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def parsed(words: Sequence[str]) -> Order | None:
    """Return what was ordered, or None where the line is not plain.

    Args:
        words: of the command line, after ``grade``.

    Example:
        >>> parsed(["submissions", "--out", "graded", "--jobs", "2"]).jobs
        2
        >>> parsed(["--help"]) is None
        True
    """
    parser = _Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("given", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    for name in ("assignment", "roster", "canvas-gradebook", "gradescope-result"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--secret", type=Path, dest="secret_file")
    for name, many in (("exercise", "exercises"), ("chapter", "chapters"), ("regrade", "regrade")):
        parser.add_argument(f"--{name}", action="append", default=[], dest=many)
    for name in ("single", "scheduler"):
        parser.add_argument(f"--{name}", default="")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    for name in ("unsafe", "strict"):
        parser.add_argument(f"--{name}", action="store_true")
    try:
        order = Order(**vars(parser.parse_args(words)))
    except ValueError:
        return None
    return order if order.jobs >= 1 else None


def main() -> NoReturn:
    """Run ``grade`` alone, where the rest of the command line is not installed."""
    order = parsed(sys.argv[1:])
    if order is not None:
        leave(grade(order))
    from normcourse.grading.typed import run_alone

    raise SystemExit(run_alone())


def leave(code: int) -> NoReturn:
    """End this process without taking NumPy apart first."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
