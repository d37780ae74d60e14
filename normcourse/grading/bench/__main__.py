"""What grading costs: one verdict from cold, classes of several sizes, and other graders beside it.

``python -m normcourse.grading.bench --otter PYTHON --nbgrader PYTHON`` measures all of it in one
run on one machine; the other graders live in environments of their own and are left out where no
interpreter is named. Each time is that of the whole command: start, sandbox, notebooks, reports.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

from normcourse.checks.catalogue import chapters, entry
from normcourse.checks.handout import learner_notebook

_EXERCISE = "batch_norm_forward"
_CHAPTER = "batch_norm"


def write_class(folder: Path, learners: int) -> None:
    """Write one notebook per learner: most answers right, some wrong, some not begun.

    Args:
        folder: to write into.
        learners: how many.
    """
    folder.mkdir(parents=True)
    data = chapters()[_CHAPTER]
    for number in range(learners):
        rng = random.Random(number)
        notebook = learner_notebook(data)
        for cell in notebook["cells"]:
            tag = cell["metadata"].get("normcourse", {})
            if tag.get("role") == "answer":
                code = _answer(tag["exercise"], rng) + f"\n# learner {number}\n"
                cell["source"] = code.splitlines(keepends=True)
        text = json.dumps(notebook)
        (folder / f"learner{number:05}.ipynb").write_text(text, encoding="utf-8")


def _answer(exercise: str, rng: random.Random) -> str:
    texts, draw = entry(exercise), rng.random()
    if draw < 0.7:
        return texts.solution
    if draw < 0.85:
        return texts.solution.replace("return ", "return 1.1 * ")
    return texts.solution.replace("eps)", "2 * eps)") if draw < 0.95 else texts.stub


def ours(given: Path, out: Path, jobs: int, *words: str) -> float:
    """Return the seconds of one whole command of ours."""
    command = [sys.executable, "-m", "normcourse.grading.command", str(given)]
    command += ["--out", str(out), "--jobs", str(jobs), *words]
    return _seconds(command)


def _seconds(command: list[str], folder: Path | None = None) -> float:
    begun = time.perf_counter()
    own = {**os.environ, "PATH": f"{Path(command[0]).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=own)
    seconds = time.perf_counter() - begun
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command[:4])}: {done.stderr[-2000:]}")
    return seconds


# --- a large class, a few of them hostile ----------


_WRONG = "def batch_norm_forward(x, gamma, beta, eps=1e-5):\n    return x\n"
_HOSTILE = (
    f"import os\nos._exit(0)\n{_WRONG}",
    f"{_WRONG}raise SystemExit\n",
    f"np.allclose = np.array_equal = lambda *a, **k: True\n{_WRONG}",
    "def batch_norm_forward(x, gamma, beta, eps=1e-5):\n    return [0] * 10**11\n",
    "def batch_norm_forward(x, gamma, beta, eps=1e-5):\n    print('x' * 10**8)\n    return x\n",
    "def batch_norm_forward(x, gamma, beta, eps=1e-5):\n    while True: pass\n",
)


def large_class(folder: Path, learners: int, jobs: int, *, every: float = 1.0) -> dict[str, Any]:
    """Grade one exercise of many learners, one in fifty hostile, and watch the memory.

    Args:
        folder: to work in.
        learners: how many.
        jobs: processes side by side.
        every: seconds between two looks at the memory.

    Returns:
        Seconds; the most memory that the grader's own processes held together (sandboxes, which
        have limits of their own, not counted) in each tenth of the run; verdicts by outcome.
    """
    given, out = folder / "given", folder / "out"
    given.mkdir(parents=True)
    for number, (name, answer) in enumerate(_answers(learners).items()):
        code = (
            f"{_HOSTILE[number // 50 % len(_HOSTILE)]}# {number}\n" if number % 50 == 7 else answer
        )
        (given / f"{name}.py").write_text(f"import numpy as np\n{code}", encoding="utf-8")
    command = [sys.executable, "-m", "normcourse.grading.command", str(given), "--out", str(out)]
    command += ["--jobs", str(jobs), "--exercise", _EXERCISE]
    begun = time.perf_counter()
    looks: list[float] = []
    with open(folder / "said", "w+", encoding="utf-8") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said)
        while process.poll() is None:
            looks.append(_megabytes(process.pid))
            time.sleep(every)
        seconds = time.perf_counter() - begun
        said.seek(0)
        if process.returncode != 0:
            raise RuntimeError(f"the grader ended with {process.returncode}: {said.read()[-2000:]}")
    records = (out / "journal.jsonl").read_text(encoding="utf-8").splitlines()
    outcomes = Counter(json.loads(r)["outcome"] for r in records if '"outcome"' in r)
    tenth = max(1, len(looks) // 10)
    peaks = [round(max(looks[k : k + tenth])) for k in range(0, len(looks), tenth)]
    return {
        "s": round(seconds, 1),
        "MB by tenths": peaks,
        "outcomes": dict(sorted(outcomes.items())),
    }


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
            words = Path(f"/proc/{one}/statm").read_text(encoding="ascii").split()
        except OSError:
            continue
        total += int(words[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    return total


# --- the same exercise for other graders ----------


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


def _notebook(answer: str, *more: dict[str, Any]) -> str:
    """Return a notebook with one answer; ``more`` are cells after it."""
    cells = [_cell("import numpy as np"), _cell(answer), *more]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return json.dumps({"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5})


def _cell(source: str, **nbgrader: Any) -> dict[str, Any]:
    metadata = {"nbgrader": {"schema_version": 3, **nbgrader}} if nbgrader else {}
    return {
        "cell_type": "code",
        "id": f"c{zlib.crc32(source.encode())}",
        "metadata": metadata,
        "execution_count": None,
        "outputs": [],
        "source": source,
    }


def _answers(learners: int) -> dict[str, str]:
    return {
        f"learner{n:05}": _answer(_EXERCISE, random.Random(n)) + f"\n# learner {n}\n"
        for n in range(learners)
    }


def ours_on_one_exercise(folder: Path, learners: int, jobs: int) -> float:
    """Return our seconds for notebooks with the one exercise."""
    given = folder / "given"
    given.mkdir(parents=True)
    for name, answer in _answers(learners).items():
        (given / f"{name}.ipynb").write_text(_notebook(answer), encoding="utf-8")
    return ours(given, folder / "out", jobs, "--exercise", _EXERCISE)


def otter(python: str, folder: Path, learners: int) -> float:
    """Return otter-grader's seconds: ``otter run`` for each notebook, as it does without Docker."""
    program = str(Path(python).parent / "otter")
    (folder / "tests").mkdir(parents=True)
    lines = _TESTS.strip().splitlines()
    doctest = "\n".join((">>> " if not n[:1].isspace() else "... ") + n for n in lines)
    case = {"code": doctest, "hidden": False, "locked": False}
    suite = {"cases": [case], "scored": True, "setup": "", "teardown": "", "type": "doctest"}
    test = {"name": _EXERCISE, "points": 1, "suites": [suite]}
    text = f"OK_FORMAT = True\ntest = {test!r}\n"
    (folder / "tests" / f"{_EXERCISE}.py").write_text(text, encoding="utf-8")
    _seconds([program, "generate", "-t", "tests", "-o", "autograder.zip"], folder)
    for name, answer in _answers(learners).items():
        (folder / f"{name}.ipynb").write_text(_notebook(answer), encoding="utf-8")
    total = 0.0
    for name in _answers(learners):
        (folder / f"out-{name}").mkdir()
        words = [program, "run", "-a", "autograder.zip", "-o", f"out-{name}", f"{name}.ipynb"]
        total += _seconds(words, folder)
    return total


def nbgrader(python: str, folder: Path, learners: int) -> float:
    """Return nbgrader's seconds: ``autograde`` for the class, then its HTML feedback."""
    program = str(Path(python).parent / "nbgrader")
    folder.mkdir(parents=True)
    (folder / "nbgrader_config.py").write_text('c.CourseDirectory.course_id = "c"\n')
    answer = {"grade": False, "solution": True, "locked": False, "task": False}
    graded = {"grade": True, "solution": False, "locked": True, "task": False, "points": 1}
    test = _cell(_TESTS, grade_id="test", **graded)

    def book(code: str) -> str:
        made = json.loads(_notebook("", _cell(code, grade_id="answer", **answer), test))
        return json.dumps(made)

    source = folder / "source" / "ps1"
    source.mkdir(parents=True)
    (source / "ps1.ipynb").write_text(book(entry(_EXERCISE).stub), encoding="utf-8")
    _seconds([program, "generate_assignment", "ps1"], folder)
    released = json.loads((folder / "release" / "ps1" / "ps1.ipynb").read_text(encoding="utf-8"))
    for name, code in _answers(learners).items():
        for cell in released["cells"]:
            if cell["metadata"].get("nbgrader", {}).get("grade_id") == "answer":
                cell["source"] = code
        place = folder / "submitted" / name / "ps1"
        place.mkdir(parents=True)
        (place / "ps1.ipynb").write_text(json.dumps(released), encoding="utf-8")
    graded_in = _seconds([program, "autograde", "ps1"], folder)
    return graded_in + _seconds([program, "generate_feedback", "ps1"], folder)


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return all figures; the keys say of what."""
    figures: dict[str, Any] = {
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "notebooks": "4 exercises each, reports included",
    }
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        os.environ["NORMCOURSE_GRADING_SECRET"] = str(root / "secret")
        write_class(root / "one", 1)
        cold = [ours(root / "one", root / f"cold{n}", 1) for n in range(5)]
        figures["cold command, one notebook, s"] = round(sorted(cold)[2], 2)
        for size in arguments.sizes:
            write_class(root / f"class{size}", size)
            for jobs in arguments.jobs:
                out = root / f"out{size}-{jobs}"
                seconds = ours(root / f"class{size}", out, jobs)
                figures[f"{size} notebooks, {jobs} jobs, s"] = round(seconds, 2)
                print(f"{size} notebooks, {jobs} jobs: {seconds:.1f} s", file=sys.stderr)
        few = arguments.few
        for jobs in arguments.jobs:
            seconds = ours_on_one_exercise(root / f"few{jobs}", few, jobs)
            figures[f"one exercise, {few} notebooks, {jobs} jobs, s"] = round(seconds, 2)
            print(f"one exercise, {jobs} jobs: {seconds:.1f} s", file=sys.stderr)
        for name, grader, python in (
            ("otter-grader", otter, arguments.otter),
            ("nbgrader", nbgrader, arguments.nbgrader),
        ):
            if python:
                seconds = grader(python, root / name, few)
                figures[f"one exercise, {few} notebooks, {name}, s"] = round(seconds, 2)
                print(f"{name}: {seconds:.1f} s", file=sys.stderr)
        if arguments.large:
            name = f"one exercise, {arguments.large} files, 2 % hostile, {max(arguments.jobs)} jobs"
            figures[name] = large_class(root / "large", arguments.large, max(arguments.jobs))
    return figures


def main() -> None:
    """Measure and write the figures as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="*", default=[20, 200, 2000])
    parser.add_argument("--jobs", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--few", type=int, default=20, help="notebooks for the comparison")
    parser.add_argument("--large", type=int, default=0, help="a class with hostile answers")
    parser.add_argument("--otter", default="", help="Python of an environment with otter-grader")
    parser.add_argument("--nbgrader", default="", help="Python of an environment with nbgrader")
    print(json.dumps(measure(parser.parse_args()), indent=1))


if __name__ == "__main__":
    main()
