"""``normcourse bench norms``: how near to the speed of memory each norm comes.

On the CPU, a process for each number of threads and each kind of memory measures every case
(:mod:`.measure`). In *fresh* memory every result is a new array whose pages the system has to
hand over; in *reused* memory the allocator keeps what was freed, for everyone alike. Where CUDA is,
:mod:`.gpu_bench` measures there too.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from normcourse.kernels.cases import CASES, Case
from normcourse.processor import processor

MEMORY = {
    "fresh": {"MALLOC_MMAP_THRESHOLD_": "1048576", "MALLOC_TRIM_THRESHOLD_": "0"},
    "reused": {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40)},
}
CONTENDERS = ("NumPy", "torch", "compiled", "Liger", "fused")
DEVICES = ("all", "cpu", "cuda")
NONE = "–"  # who does not take part in a case
RESULTS = Path(__file__).parent / "results"
Record = dict[str, Any]


def bench(
    out: Any,
    *,
    threads: Sequence[int] = (1, 2),
    rounds: int = 15,
    compiles: bool = True,
    names: Sequence[str] = (),
    device: str = "all",
    json_file: Path | None = None,
) -> int:
    """Measure, write tables to a screen of the terminal and, if asked, a JSON file.

    Args:
        out: screen of the terminal.
        threads: numbers of threads of the CPU.
        rounds: turns that everyone has.
        compiles: whether torch.compile takes part.
        names: of the cases, all of them where none is named.
        device: "cpu", "cuda", or "all" that is here: the record of a GPU then lies in that of the
            CPU under "gpu".
        json_file: where the record goes.

    Returns:
        0, or 1 where only the GPU is asked for and there is none.
    """
    from normcourse.kernels import gpu_bench
    from normcourse.kernels.gpu_cases import GPU_CASES

    if device not in DEVICES:
        wanted = ", ".join(map(repr, DEVICES))
        raise ValueError(f"device: expected one of {wanted}, got {device!r}.")
    reason = None if device == "cpu" else gpu_bench.missing()
    if reason is not None:
        out.line(f"GPU: not measured; {reason.partition(': ')[0]}.")
        if device == "cuda":
            return 1
    options: dict[str, Any] = {"rounds": rounds, "compiles": compiles, "say": out.line}
    record: Record = {}
    if device != "cuda":
        record = run(threads=threads, names=names, **options)
        for part in record["parts"]:
            out.line()
            out.line(f"{part['threads']} thread(s), {part['memory']} memory", "bold")
            out.table(*table(part["rows"], CASES, fresh=part["memory"] == "fresh"))
    if device != "cpu" and reason is None:
        found = gpu_bench.run(**options, names=names)
        for part in found["parts"]:
            out.line()
            out.line(f"{found['machine']['device']}, {part['memory']} memory", "bold")
            out.table(*table(part["rows"], GPU_CASES, fresh=part["memory"] == "fresh"))
        record = {**record, "gpu": found} if record else found
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return 0


def run(
    *,
    threads: Sequence[int],
    rounds: int,
    compiles: bool,
    names: Sequence[str] = (),
    say: Callable[[str], object] = print,
) -> Record:
    """Return a record: the machine, and a part for each number of threads and kind of memory."""
    parts = []
    for count in threads:
        for memory in MEMORY:
            say(f"measuring: {count} thread(s), {memory} memory")
            load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
            rows = _measured(count, memory, rounds, compiles, names)
            parts.append({"threads": count, "memory": memory, "load": load, "rows": rows})
    return {"schema": 1, "machine": machine(), "rounds": rounds, "parts": parts}


def _measured(
    threads: int, memory: str, rounds: int, compiles: bool, names: Sequence[str]
) -> list[Record]:
    words = [str(threads), str(rounds), str(int(compiles)), *names]
    done = subprocess.run(
        [sys.executable, "-m", "normcourse.kernels.measure", *words],
        env={**os.environ, **MEMORY[memory], "OMP_NUM_THREADS": str(threads)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    rows: list[Record] = json.loads(done.stdout.splitlines()[-1])
    return rows


def machine() -> Record:
    """Return what the times depend on."""
    import numba
    import numpy
    import torch

    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "numba": numba.__version__,
        "torch": torch.__version__,
        "date": datetime.date.today().isoformat(),
        "command": "normcourse bench norms",
    }


def shares(
    row: Record, what: str, cases: Sequence[Case] = CASES, *, fresh: bool = False
) -> dict[str, float]:
    """Return, for each contender, the time that copies need for its bytes over the time it takes.

    Formula:
        share = (arrays / 2 * copy + new arrays * (copy into a new array - copy)) / time

    The second term, what the system takes to hand an array over, counts in fresh memory alone.

    Args:
        row: of a part of a record.
        what: "forward" or "backward".
        cases: that the row is of.
        fresh: whether every result is a new array that the system has to hand over.

    Example:
        >>> best = lambda seconds: {"best": seconds, "median": seconds}
        >>> copies = {"NumPy": best(2.0), "torch": best(4.0)}
        >>> new = {"torch": best(3.0)}
        >>> seconds = {"copy": copies, "new copy": new, "fused": {"forward": best(4.0)}}
        >>> row = {"case": "layer norm", "seconds": seconds}
        >>> shares(row, "forward"), shares(row, "forward", fresh=True)
        ({'fused': 0.5}, {'fused': 0.75})
    """
    case = next(case for case in cases if case.name == row["case"])
    copy = best_copy(row)
    roof = getattr(case, what) / 2 * copy
    if fresh:
        roof += case.new_arrays(what) * max(0.0, best_copy(row, new=True) - copy)
    return {
        name: roof / row["seconds"][name][what]["best"]
        for name in CONTENDERS
        if name in row["seconds"]
    }


def best_copy(row: Record, *, new: bool = False) -> float:
    """Return seconds of the best copy of an array, into one that is there or into a new one.

    Example:
        >>> ways = {"NumPy": {"best": 2.0}, "torch": {"best": 4.0}}
        >>> best_copy({"seconds": {"copy": ways}})
        2.0
    """
    ways = row["seconds"]["new copy" if new else "copy"]
    found: float = min(way["best"] for way in ways.values())
    return found


def copies(part: Record, case: str, what: str) -> dict[str, float]:
    """Return the time of each contender in copies of the array, for one case of a part.

    Args:
        part: of a record.
        case: its name.
        what: "forward" or "backward".

    Example:
        >>> best = lambda seconds: {"best": seconds}
        >>> seconds = {"copy": {"NumPy": best(2.0)}, "fused": {"forward": best(3.0)}}
        >>> copies({"rows": [{"case": "layer norm", "seconds": seconds}]}, "layer norm", "forward")
        {'fused': 1.5}
    """
    row = next(row for row in part["rows"] if row["case"] == case)
    seconds, copy = row["seconds"], best_copy(row)
    return {name: seconds[name][what]["best"] / copy for name in CONTENDERS if name in seconds}


def contenders(measured: Sequence[Record]) -> list[str]:
    """Return who took part in a row or more.

    Example:
        >>> contenders([{"seconds": {"fused": {}, "torch": {}}}, {"seconds": {"Liger": {}}}])
        ['torch', 'Liger', 'fused']
    """
    return [name for name in CONTENDERS if any(name in row["seconds"] for row in measured)]


def table(
    measured: Sequence[Record], cases: Sequence[Case], *, fresh: bool
) -> tuple[list[str], Iterable[list[str]]]:
    """Return heads and rows: copy bandwidth, bytes, times and shares, forward and backward."""
    names = contenders(measured)
    heads = ["", "copy GB/s", "arrays", *names, *(f"{name} %" for name in names), "torch / fused"]
    rows = []
    for row in measured:
        case = next(case for case in cases if case.name == row["case"])
        copy = best_copy(row, new=fresh)
        for what in ("forward", "backward"):
            found = shares(row, what, cases, fresh=fresh)
            seconds = {name: row["seconds"][name][what]["best"] for name in found}
            rows.append(
                [
                    f"{case.name}, {what}",
                    f"{2e-9 * case.nbytes / copy:.1f}",
                    str(getattr(case, what)),
                    *(f"{1e3 * seconds[n]:.2f} ms" if n in found else NONE for n in names),
                    *(f"{100 * found[n]:.0f}" if n in found else NONE for n in names),
                    f"{seconds['torch'] / seconds['fused']:.1f}",
                ]
            )
    return heads, rows


def recorded(kind: str) -> Record | None:
    """Return the record that is kept with the course, "cpu" or "gpu"; None if there is none.

    Example:
        >>> recorded("abacus") is None
        True
    """
    path = RESULTS / f"{kind}.json"
    if not path.is_file():
        return None
    record: Record = json.loads(path.read_text(encoding="utf-8"))
    return record
