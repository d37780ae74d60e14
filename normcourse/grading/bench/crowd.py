"""A large class, one learner in fifty hostile: how long, how much memory, and what came of whom."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

from normcourse.grading.bench.answers import EXERCISE, crowd
from normcourse.grading.bench.graders import words


def large_class(folder: Path, learners: int, jobs: int, *, every: float = 1.0) -> dict[str, Any]:
    """Grade one exercise of many learners, one in fifty hostile, and watch the memory.

    Args:
        folder: to work in.
        learners: how many.
        jobs: processes side by side.
        every: seconds between two looks at the memory.

    Returns:
        Seconds; the most memory that the grader's own processes held together (sandboxes, which
        have limits of their own, not counted) and the verdicts that were in the journal at the end
        of each tenth of the time; outcomes of honest answers, how many are not what is due, and
        outcomes of hostile ones by kind; seconds of the same command once more, which finds all
        verdicts in the journal, and whether it wrote the same reports.
    """
    given, out = folder / "given", folder / "out"
    given.mkdir(parents=True)
    for name, code, _, _ in crowd(learners):
        (given / f"{name}.py").write_text(f"import numpy as np\n{code}", encoding="utf-8")
    command = words(given, out, jobs, "--exercise", EXERCISE)
    seconds, looks = _watched(command, folder / "said", out / "journal.jsonl", every)
    reports = _reports(out)
    again, _ = _watched(command, folder / "said again", out / "journal.jsonl", every)
    return {
        "learners": learners,
        "jobs": jobs,
        "seconds": round(seconds, 1),
        "tenths": _tenths(looks),
        **_outcomes(out / "journal.jsonl", learners),
        "again": {"seconds": round(again, 1), "same reports": _reports(out) == reports},
    }


Look = tuple[float, float, int]  # seconds, megabytes, verdicts


def _watched(
    command: list[str], said: Path, journal: Path, every: float
) -> tuple[float, list[Look]]:
    """Run the command; return its seconds and what was seen on the way."""
    begun = time.perf_counter()
    looks: list[Look] = []
    counted, place = 0, 0
    with open(said, "w+", encoding="utf-8") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file)
        while process.poll() is None:
            if journal.exists():
                with open(journal, "rb") as lines:
                    lines.seek(place)
                    new = lines.read()
                counted, place = counted + new.count(b"\n"), place + len(new)
            looks.append((time.perf_counter() - begun, _megabytes(process.pid), counted))
            time.sleep(every)
        seconds = time.perf_counter() - begun
        file.seek(0)
        if process.returncode != 0:
            raise RuntimeError(f"the grader ended with {process.returncode}: {file.read()[-2000:]}")
    return seconds, looks


def _tenths(looks: list[Look]) -> list[dict[str, float]]:
    count = min(10, len(looks))  # of one length: the last look meets a process that is ending
    edges = [len(looks) * k // count for k in range(count + 1)]
    parts = [looks[a:b] for a, b in itertools.pairwise(edges)]
    return [
        {
            "until s": round(part[-1][0], 1),
            "MB": round(max(megabytes for _, megabytes, _ in part)),
            "verdicts": part[-1][2],
        }
        for part in parts
    ]


def _outcomes(journal: Path, learners: int) -> dict[str, Any]:
    """Return what came of honest and of hostile answers."""
    came = {}
    for line in journal.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        came[record["learner"]] = record["outcome"]
    honest: Counter[str] = Counter()
    hostile: dict[str, Counter[str]] = {}
    undue = 0
    for name, _, due, kind in crowd(learners):
        outcome = came.get(name, "missing")
        if kind:
            hostile.setdefault(kind, Counter())[outcome] += 1
        else:
            honest[outcome] += 1
            undue += outcome != due
    plain = {kind: dict(sorted(counts.items())) for kind, counts in hostile.items()}
    return {"honest": dict(sorted(honest.items())), "not as due": undue, "hostile": plain}


def _reports(out: Path) -> dict[str, bytes]:
    """Return every report's bytes."""
    names = ("results.jsonl", "grades.csv", "class.html", "moodle.csv", "junit.xml")
    return {name: (out / name).read_bytes() for name in names}


def _megabytes(pid: int) -> float:
    """Return the memory of a process and of those it started itself, sandboxes left out."""
    total = 0.0
    children = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
            children[int(stat.parent.name)] = int(fields[1])
        except (OSError, IndexError, ValueError):  # ended in the meantime
            continue
    for one in (pid, *(child for child, parent in children.items() if parent == pid)):
        try:
            numbers = Path(f"/proc/{one}/statm").read_text(encoding="ascii").split()
        except OSError:
            continue
        total += int(numbers[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    return total
