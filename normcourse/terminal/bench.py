"""The command ``bench``: what a verdict costs, cold and warm, from the command line and in here.

Times of processes are medians over interleaved repetitions, so that what else the machine does
meets all of them alike; ratios are to a Python that imports NumPy.
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
from pathlib import Path
from typing import Any

from normcourse.checks.catalogue import Listed, listed
from normcourse.terminal import BadInput
from normcourse.terminal.screen import Screen

WARM_LIMIT = 0.050  # seconds for a warm verdict of a NumPy exercise, diagnosis included
FIRST = "batch_norm_forward"


def bench(out: Screen, *, repeats: int = 10, json_file: Path | None = None) -> int:
    """Measure, write tables and, if asked, a JSON file; 1 if a warm verdict takes too long."""
    cold, warm = cold_times(repeats), warm_times(max(3, repeats // 2))
    out.table(
        ("process", "median ms", "best ms", "ratio to NumPy"),
        [
            (name, f"{1e3 * row['median']:.0f}", f"{1e3 * row['best']:.0f}", f"{row['ratio']:.2f}")
            for name, row in cold.items()
        ],
    )
    out.line()
    out.table(
        ("warm check() of", "right, ms", "wrong, ms", "worst mistake"),
        [
            (name, f"{1e3 * row['right']:.1f}", f"{1e3 * row['wrong']:.1f}", row["worst"])
            for name, row in warm.items()
        ],
    )
    slow = [name for name, row in warm.items() if max(row["right"], row["wrong"]) > WARM_LIMIT]
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
    unit = statistics.median(times["python, import numpy"])
    return {
        name: {
            "median": statistics.median(seconds),
            "best": min(seconds),
            "ratio": statistics.median(seconds) / unit,
        }
        for name, seconds in times.items()
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
) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in commands}
    environment = {**os.environ, "NORMCOURSE_PROGRESS": str(folder / "progress.json")}
    for turn in range(repeats + 1):  # the first turn fills the caches
        for name, words in commands.items():
            begun = time.perf_counter()
            subprocess.run(
                words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
            )
            if turn:
                times[name].append(time.perf_counter() - begun)
    return times


def warm_times(repeats: int) -> dict[str, dict[str, Any]]:
    """Return what a verdict costs once everything is loaded: the right answer, the worst wrong."""
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
        "worst": worst,
    }


def _median(work: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        begun = time.perf_counter()
        work()
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


def _write(path: Path, value: Any) -> None:
    try:
        path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{path}: cannot be written ({error.strerror}).") from None
