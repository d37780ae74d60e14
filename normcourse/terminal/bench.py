"""The command ``bench``: what a verdict costs, cold and warm, from the command line and in here.

Times of processes are medians over interleaved repetitions, so that what else the machine does
meets all of them alike; ratios are to a Python that imports NumPy. The processor's time counts what
a process and its children use, waiting aside, and says more on a busy machine.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from math import nan
from pathlib import Path
from typing import Any

from normcourse.checks.catalogue import Listed, listed
from normcourse.terminal import BadInput
from normcourse.terminal.screen import Screen

WARM_LIMIT = 0.050  # seconds for a warm verdict of a NumPy exercise, diagnosis included
FIRST = "batch_norm_forward"
_ANSWERS = ("right", "wrong", "unknown")


def bench(out: Screen, *, repeats: int = 10, json_file: Path | None = None) -> int:
    """Measure, write tables and, if asked, a JSON file; 1 if a warm verdict takes too long."""
    cold, warm = cold_times(repeats), warm_times(max(3, repeats // 2))
    out.table(
        ("process", "median ms", "best ms", "ratio to NumPy", "processor ms", "ratio"),
        [
            (
                name,
                *(f"{1e3 * row[kind]:.0f}" for kind in ("median", "best")),
                f"{row['ratio']:.2f}",
                *(f"{1e3 * row['processor']:.0f}", f"{row['processor_ratio']:.2f}"),
            )
            for name, row in cold.items()
        ],
    )
    out.line()
    out.table(
        ("warm check() of", "right, ms", "wrong, ms", "unknown, ms", "worst mistake"),
        [
            (
                name,
                *(f"{1e3 * row[kind]:.1f}" for kind in _ANSWERS),
                row["worst"],
            )
            for name, row in warm.items()
        ],
    )
    slow = [name for name, row in warm.items() if max(row[k] for k in _ANSWERS) > WARM_LIMIT]
    total = sum(row["right"] for row in warm.values())
    out.line()
    out.line(f"All {len(warm)} NumPy exercises, warm, in one process: {1e3 * total:.0f} ms.")
    if slow:
        out.wrapped(f"Above {1e3 * WARM_LIMIT:.0f} ms: {', '.join(slow)}.", "bad", indent=0)
    if json_file is not None:
        _write(json_file, {"machine": machine(), "cold": cold, "warm": warm})
    return 1 if slow else 0


def machine() -> dict[str, Any]:
    """Return what the times depend on."""
    import numpy

    return {
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "system": platform.platform(terse=True),
        "processor": platform.machine(),
        "cores": os.cpu_count(),
    }


def cold_times(repeats: int) -> dict[str, dict[str, float]]:
    """Return the wall time of whole processes, first among them Python with NumPy."""
    python = [sys.executable, "-c"]
    cli = [sys.executable, "-m", "normcourse.cli", "check"]
    with tempfile.TemporaryDirectory() as folder:
        files = _answer_files(Path(folder))
        commands = {
            "python": [*python, "pass"],
            "python, import numpy": [*python, "import numpy"],
            "python, import normcourse": [*python, "import normcourse"],
            "python, import normcourse.check": [*python, "from normcourse import check"],
            **{f"normcourse check: {name}": [*cli, str(path)] for name, path in files.items()},
        }
        times = _interleaved(commands, repeats, Path(folder))
    wall, work = ({name: t[kind] for name, t in times.items()} for kind in (0, 1))
    unit, work_unit = (statistics.median(t["python, import numpy"]) for t in (wall, work))
    return {
        name: {
            "median": statistics.median(wall[name]),
            "best": min(wall[name]),
            "ratio": statistics.median(wall[name]) / unit,
            "processor": statistics.median(work[name]),
            "processor_ratio": statistics.median(work[name]) / work_unit if work_unit else nan,
        }
        for name in times
    }


def _answer_files(folder: Path) -> dict[str, Path]:
    """Write the files that are checked: stubs, one right, one wrong, and all right answers."""
    numpy = [exercise for exercise in listed().values() if exercise.runtime == "numpy"]
    first = listed()[FIRST]
    wrong = first.solution.replace("x.var(", "1 + x.var(").replace("np.var(", "1 + np.var(")
    texts = {
        "a stub": _script([first.stub]),
        "a right answer": _script([first.solution]),
        "a wrong answer": _script([wrong]),
        f"all {len(numpy)} NumPy answers": _script([one.solution for one in numpy]),
    }
    files = {}
    for number, (name, text) in enumerate(texts.items()):
        files[name] = folder / f"answers{number}.py"
        files[name].write_text(text, encoding="utf-8")
    return files


def _script(codes: Iterable[str]) -> str:
    return "\n\n\n".join(["import numpy as np", *codes]) + "\n"


def _interleaved(
    commands: Mapping[str, Sequence[str]], repeats: int, folder: Path
) -> dict[str, tuple[list[float], list[float]]]:
    """Return wall times and processor times of each command."""
    times: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in commands}
    environment = {**os.environ, "NORMCOURSE_PROGRESS": str(folder / "progress.json")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # as a learner's Python, which compiles once
    for turn in range(repeats + 1):  # the first turn fills the caches
        for name, words in commands.items():
            begun, worked = time.perf_counter(), _work_of_children()
            subprocess.run(
                words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
            )
            if turn:
                wall, work = times[name]
                wall.append(time.perf_counter() - begun)
                work.append(_work_of_children() - worked)
    return times


def _work_of_children() -> float:
    """Return the processor's time of the processes that have ended; 0 where it is not known."""
    spent = os.times()
    return spent.children_user + spent.children_system


def warm_times(repeats: int) -> dict[str, dict[str, Any]]:
    """Return what a verdict costs once everything is loaded.

    Of the right answer, of the worst mistake, and of a wrong answer that nothing explains, for
    which every mistake and every pair of them is tried.
    """
    found = {}
    for exercise in listed().values():
        if exercise.runtime == "numpy":
            found[exercise.id] = _warm(exercise, repeats)
    return found


def _warm(exercise: Listed, repeats: int) -> dict[str, Any]:
    from normcourse.checks import find
    from normcourse.terminal.proof import by_place, defined, verdict_on

    full = find(exercise.id)
    right = defined(exercise.solution)[exercise.id]
    wrong = {m.id: by_place(full, full.wrong_answer(m)) for m in full.mistakes}
    costs = {name: _median(partial(verdict_on, full, a), repeats) for name, a in wrong.items()}
    worst = max(costs, key=costs.__getitem__, default="")
    return {
        "right": _median(partial(verdict_on, full, right), repeats),
        "wrong": costs.get(worst, 0.0),
        "unknown": _median(partial(verdict_on, full, _off(right)), repeats),
        "worst": worst,
    }


def _off(right: Callable[..., Any]) -> Callable[..., Any]:
    """Return an answer that nobody gives: each number of the right one bent a little."""

    def bent(value: Any) -> Any:
        import numpy as np

        if isinstance(value, tuple | list):
            return type(value)(bent(item) for item in value)
        if isinstance(value, dict):
            return {name: bent(item) for name, item in value.items()}
        if value is None or isinstance(value, str | bool):
            return value
        return np.asarray(value) * 1.01 + np.asarray(0.03 * np.sin(value), np.result_type(value))

    return lambda *inputs: bent(right(*inputs))


def _median(work: Callable[[], object], repeats: int) -> float:
    """Return the processor's time: a verdict in here waits for nothing."""
    times = []
    for _ in range(repeats):
        begun = time.process_time()
        work()
        times.append(time.process_time() - begun)
    return statistics.median(times)


def _write(path: Path, value: Any) -> None:
    try:
        path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{path}: cannot be written ({error.strerror}).") from None
