"""Whole commands, timed: ours, and the same exercise for otter-grader and nbgrader."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from normcourse.checks.catalogue import entry
from normcourse.grading.bench.answers import EXERCISE, answers, cell, notebook, write_notebooks

_TESTS = """
import numpy as np
def reference(x, gamma, beta, eps):
    return gamma * (x - x.mean(0)) / np.sqrt(x.var(0) + eps) + beta
for seed in range(20):
    rng = np.random.default_rng(seed)
    x, gamma, beta = rng.normal(3, 2, (7, 5)), rng.normal(size=5), rng.normal(size=5)
    for eps in (1e-5, 0.3):
        assert np.allclose(batch_norm_forward(x, gamma, beta, eps), reference(x, gamma, beta, eps))
"""


def timed(command: list[str], folder: Path | None = None) -> float:
    """Run a command to its end; returns its seconds.

    Raises:
        RuntimeError: it ended badly; the message is what it said last.
    """
    begun = time.perf_counter()
    own = {**os.environ, "PATH": f"{Path(command[0]).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=own)
    seconds = time.perf_counter() - begun
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command[:4])}: {done.stderr[-2000:]}")
    return seconds


def words(given: Path, out: Path, jobs: int, *more: str) -> list[str]:
    """Return the words of our command."""
    command = [sys.executable, "-m", "normcourse.grading.command", str(given)]
    return [*command, "--out", str(out), "--jobs", str(jobs), *more]


def ours(folder: Path, learners: int, jobs: int) -> float:
    """Return the seconds of our command for notebooks with the one exercise."""
    write_notebooks(folder / "given", learners)
    return timed(words(folder / "given", folder / "out", jobs, "--exercise", EXERCISE))


def otter(python: str, folder: Path, learners: int) -> float:
    """Return the seconds of ``otter run`` for each notebook, as it does without Docker."""
    program = str(Path(python).parent / "otter")
    (folder / "tests").mkdir(parents=True)
    lines = _TESTS.strip().splitlines()
    doctest = "\n".join((">>> " if not n[:1].isspace() else "... ") + n for n in lines)
    case = {"code": doctest, "hidden": False, "locked": False}
    suite = {"cases": [case], "scored": True, "setup": "", "teardown": "", "type": "doctest"}
    test = {"name": EXERCISE, "points": 1, "suites": [suite]}
    text = f"OK_FORMAT = True\ntest = {test!r}\n"
    (folder / "tests" / f"{EXERCISE}.py").write_text(text, encoding="utf-8")
    timed([program, "generate", "-t", "tests", "-o", "autograder.zip"], folder)
    total = 0.0
    for name, code, _ in answers(learners):
        (folder / f"{name}.ipynb").write_text(notebook(code), encoding="utf-8")
        (folder / f"out-{name}").mkdir()
        command = [program, "run", "-a", "autograder.zip", "-o", f"out-{name}", f"{name}.ipynb"]
        total += timed(command, folder)
    return total


def nbgrader(python: str, folder: Path, learners: int) -> float:
    """Return the seconds of nbgrader's ``autograde`` for the class, with its HTML feedback."""
    program = str(Path(python).parent / "nbgrader")
    folder.mkdir(parents=True)
    (folder / "nbgrader_config.py").write_text('c.CourseDirectory.course_id = "c"\n')
    source = folder / "source" / "ps1"
    source.mkdir(parents=True)
    (source / "ps1.ipynb").write_text(_for_nbgrader(entry(EXERCISE).stub), encoding="utf-8")
    timed([program, "generate_assignment", "ps1"], folder)
    released = json.loads((folder / "release" / "ps1" / "ps1.ipynb").read_text(encoding="utf-8"))
    for name, code, _ in answers(learners):
        for one in released["cells"]:
            if one["metadata"].get("nbgrader", {}).get("grade_id") == "answer":
                one["source"] = code
        place = folder / "submitted" / name / "ps1"
        place.mkdir(parents=True)
        (place / "ps1.ipynb").write_text(json.dumps(released), encoding="utf-8")
    graded = timed([program, "autograde", "ps1"], folder)
    return graded + timed([program, "generate_feedback", "ps1"], folder)


def _for_nbgrader(code: str) -> str:
    answer = {"grade": False, "solution": True, "locked": False, "task": False}
    graded = {"grade": True, "solution": False, "locked": True, "task": False, "points": 1}
    test: dict[str, Any] = cell(_TESTS, grade_id="test", **graded)
    return notebook("", cell(code, grade_id="answer", **answer), test)


OTHERS = {"nbgrader": nbgrader, "otter-grader": otter}
SLOW = ("otter-grader",)  # minutes for twenty notebooks: measured in the first turn alone


def version(python: str, package: str) -> str:
    """Return the version of a package in another environment."""
    code = f"from importlib.metadata import version as v; print(v({package!r}))"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()
