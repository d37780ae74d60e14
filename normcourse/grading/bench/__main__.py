"""Measures, says the figures as JSON, and keeps them where asked to."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import shlex
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from normcourse.grading import bench
from normcourse.grading.bench import records
from normcourse.grading.bench.answers import write_class
from normcourse.grading.bench.crowd import large_class
from normcourse.grading.bench.graders import OTHERS, SLOW, ours, timed, version, words
from normcourse.processor import processor

Part = dict[str, Any]


def classes(root: Path, sizes: list[int], jobs: list[int]) -> Part:
    """Return what a chapter's notebooks take, four exercises each, for classes of several sizes."""
    write_class(root / "one", 1)
    cold = [timed(words(root / "one", root / f"cold{n}", 1)) for n in range(5)]
    rows = []
    for size in sizes:
        write_class(root / f"class{size}", size)
        for number in jobs:
            out = root / f"out{size}-{number}"
            seconds = timed(words(root / f"class{size}", out, number))
            rows.append({"notebooks": size, "jobs": number, "s": round(seconds, 3)})
            _say(f"{size} notebooks, {number} jobs: {seconds:.1f} s")
    return {"one notebook, s": round(statistics.median(cold), 2), "rows": rows}


def compared(root: Path, arguments: argparse.Namespace) -> Part:
    """Return what the one exercise takes us and others, turn by turn in the same run."""
    pythons = {"nbgrader": arguments.nbgrader, "otter-grader": arguments.otter}
    others = {name: python for name, python in pythons.items() if python}
    rows: list[Part] = [{"grader": "ours", "jobs": jobs, "turns": []} for jobs in arguments.jobs]
    for name, python in others.items():
        found = version(python, name)
        rows.append({"grader": name, "version": found, "jobs": 1, "turns": []})
    for turn in range(arguments.turns):
        for row in rows:
            name = row["grader"]
            if turn and name in SLOW:
                continue
            place = root / f"{name}-{row['jobs']}-{turn}"
            if name == "ours":
                seconds = ours(place, arguments.few, row["jobs"])
            else:
                seconds = OTHERS[name](others[name], place, arguments.few)
            row["turns"].append(round(seconds, 3))
            _say(f"turn {turn + 1}, {name}, {row['jobs']} jobs: {seconds:.2f} s")
    return {"notebooks": arguments.few, "rows": rows}


def measure(arguments: argparse.Namespace) -> dict[str, Part]:
    """Return the parts that were asked for, each with the machine and the command."""
    parts: dict[str, Part] = {}
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        os.environ["NORMCOURSE_GRADING_SECRET"] = str(root / "secret")
        if arguments.sizes:
            parts["classes"] = classes(root, arguments.sizes, arguments.jobs)
        if arguments.few:
            parts["compared"] = compared(root, arguments)
        if arguments.large:
            jobs = max(arguments.jobs)
            parts["large"] = large_class(root / "large", arguments.large, jobs)
    return {name: {"machine": _machine(), **part} for name, part in parts.items()}


def _say(words_: str) -> None:
    print(words_, file=sys.stderr, flush=True)


def _machine() -> dict[str, Any]:
    import numpy

    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "date": datetime.date.today().isoformat(),
        "command": shlex.join(["python", "-m", "normcourse.grading.bench", *_nameless()]),
    }


def _nameless() -> list[str]:
    """Return the words that were typed, without where other interpreters lie on this machine."""
    words_ = list(sys.argv[1:])
    for number, word in enumerate(words_[:-1]):
        if word in ("--otter", "--nbgrader"):
            words_[number + 1] = "PYTHON"
    return words_


def main() -> None:
    """Measure and write the figures as JSON."""
    parser = argparse.ArgumentParser(description=(bench.__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="*", default=[20, 200, 2000])
    parser.add_argument("--jobs", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--few", type=int, default=20, help="notebooks for the comparison")
    parser.add_argument("--turns", type=int, default=3, help="of the comparison")
    parser.add_argument("--large", type=int, default=0, help="a class with hostile answers")
    parser.add_argument("--otter", default="", help="Python of an environment with otter-grader")
    parser.add_argument("--nbgrader", default="", help="Python of an environment with nbgrader")
    parser.add_argument("--record", action="store_true", help=f"keep the parts in {records.NAME}")
    arguments = parser.parse_args()
    parts = measure(arguments)
    if arguments.record:
        records.keep(parts)
    print(json.dumps(parts, indent=1))


if __name__ == "__main__":
    main()
