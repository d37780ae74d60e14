"""Cells for a GPU: they run where CUDA is, and elsewhere show what they gave where they ran.

    %load_ext normcourse.gpu

and then, in a cell of its own that needs nothing from the cells before it,

    %%gpu NAME
    ...
    rows

whose last line is the result: a list of flat dicts, one per row of a table. Where CUDA is, the
cell runs. Elsewhere one line says that it did not, and the recorded result is shown as recorded,
with its device, driver, versions and day; or, where there is none, that there is none.
``%%gpu NAME --record`` keeps the result in the package; ``normcourse bench gpu`` does so for every
such cell of the book.
"""

from __future__ import annotations

import ast
import datetime
import hashlib
import json
import math
import platform
import subprocess
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

RESULTS = Path(__file__).with_name("gpu_results")
HOW = "`normcourse bench gpu` on a machine with CUDA runs it and keeps the result"
Row = dict[str, Any]


class Device(NamedTuple):
    """A GPU and what drives it."""

    name: str
    driver: str
    cuda: str
    torch: str
    python: str


@dataclass(frozen=True)
class GpuResult:
    """What a cell gave on a GPU.

    Attributes:
        name: of the cell.
        rows: flat dicts of numbers and words.
        device: what it ran on.
        date: the day, as YYYY-MM-DD.
        source: hash of the cell's code.
    """

    name: str
    rows: list[Row]
    device: Device
    date: str
    source: str

    def __repr__(self) -> str:
        """Return the rows as a table of plain text."""
        return "\n".join(_table(self.rows))


class NoGpu(RuntimeError):
    """There is no CUDA device here."""


def device() -> Device | None:
    """Return the CUDA device that torch would use, or None if there is none."""
    try:
        import torch
    except ImportError:
        return None
    if not torch.cuda.is_available():
        return None
    return Device(
        name=torch.cuda.get_device_name(),
        driver=_driver(),
        cuda=str(torch.version.cuda),
        torch=str(torch.__version__),
        python=platform.python_version(),
    )


def _driver() -> str:
    """Return the version of the driver; torch does not know it."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return (done.stdout.splitlines() or ["unknown"])[0].strip()


def seconds(work: Callable[[], object], rounds: int = 20) -> float:
    """Return the least time that ``work`` takes on the GPU, by CUDA's own clock.

    Args:
        work: queues operations on the current device.
        rounds: repetitions, after three that are not counted.

    Raises:
        NoGpu: there is no CUDA device.
    """
    if device() is None:
        raise NoGpu(
            "seconds: there is no CUDA device here. Time on the CPU with time.perf_counter."
        )
    import torch

    least = math.inf
    for turn in range(rounds + 3):
        start, end = (_event() for _ in range(2))
        start.record()
        work()
        end.record()
        torch.cuda.synchronize()
        if turn >= 3:
            least = min(least, 1e-3 * start.elapsed_time(end))
    return least


def _event() -> Any:
    import torch

    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]


def source_hash(source: str) -> str:
    """Return 12 hex digits for the code of a cell; comments and layout do not count.

    Example:
        >>> source_hash("x = 1  # one") == source_hash("x=1")
        True
    """
    return hashlib.sha256(ast.unparse(ast.parse(source)).encode()).hexdigest()[:12]


def run_cell(source: str, namespace: dict[str, Any]) -> list[Row]:
    """Run the code of a cell and return the value of its last line.

    Args:
        source: Python code that ends with an expression.
        namespace: where its names live.

    Raises:
        TypeError: the last line is no expression, or its value no list of flat dicts.

    Example:
        >>> run_cell("x = 2\\n[{'twice': 2 * x}]", {})
        [{'twice': 4}]
    """
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body else None
    if not isinstance(last, ast.Expr):
        raise TypeError("gpu: expected a last line that is the result. End the cell with `rows`.")
    exec(compile(tree, "<gpu cell>", "exec"), namespace)
    value = eval(compile(ast.Expression(last.value), "<gpu cell>", "eval"), namespace)
    flat = isinstance(value, list) and all(
        isinstance(row, dict) and all(isinstance(v, int | float | str) for v in row.values())
        for row in value
    )
    if not flat or not value:
        raise TypeError(
            f"gpu: expected a list of flat dicts of numbers and words, got {type(value).__name__}. "
            "Make one dict per row of the table."
        )
    rows: list[Row] = value
    return rows


def measure(name: str, source: str, namespace: dict[str, Any]) -> GpuResult:
    """Run a cell on the GPU.

    Raises:
        NoGpu: there is no CUDA device.
    """
    here = device()
    if here is None:
        raise NoGpu(f"gpu {name}: there is no CUDA device here.")
    rows = run_cell(source, namespace)
    return GpuResult(name, rows, here, datetime.date.today().isoformat(), source_hash(source))


def keep(result: GpuResult) -> Path:
    """Write a result to the package's data and return its file."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{result.name}.json"
    record = {"schema": 1, **asdict(result), "device": result.device._asdict()}
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return path


def recorded(name: str) -> GpuResult | None:
    """Return the result that is kept for a cell, or None.

    Example:
        >>> recorded("no such cell") is None
        True
    """
    path = RESULTS / f"{name}.json"
    if not path.is_file():
        return None
    found = json.loads(path.read_text(encoding="utf-8"))
    of = Device(**found["device"])
    return GpuResult(found["name"], found["rows"], of, found["date"], found["source"])


def told(name: str, source: str) -> str:
    """Return what is shown for a cell where CUDA is not."""
    kept = recorded(name)
    if kept is None:
        return f"No CUDA here: not run, and no result is recorded yet. {HOW}."
    on = kept.device
    lines = [
        f"No CUDA here: not run. Recorded on {on.name}, driver {on.driver}, CUDA {on.cuda}, "
        f"torch {on.torch}, {kept.date}:",
        repr(kept),
    ]
    if kept.source != source_hash(source):
        lines.append("The cell has changed since.")
    return "\n".join(lines)


def cells(paths: Iterable[Path]) -> Iterator[tuple[str, str]]:
    """Yield the name and the code of every GPU cell in notebooks."""
    for path in paths:
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            first, _, source = "".join(cell["source"]).partition("\n")
            if cell["cell_type"] == "code" and first.startswith("%%gpu "):
                yield first.split()[1], source


def bench(out: Any, paths: Iterable[Path]) -> int:
    """Run every GPU cell of notebooks, each in names of its own, and keep what they give."""
    here = device()
    if here is None:
        out.line("No CUDA here: GPU cells need a machine with a CUDA device and torch for it.")
        return 1
    out.line(f"{here.name}, driver {here.driver}, CUDA {here.cuda}, torch {here.torch}")
    for name, source in cells(paths):
        result = measure(name, source, {})
        out.line(f"{name}: {keep(result)}")
        for line in _table(result.rows):
            out.line(line)
    return 0


def load_ipython_extension(shell: Any) -> None:
    """Register ``%%gpu``; called by ``%load_ext normcourse.gpu``."""

    def gpu(line: str, cell: str) -> GpuResult | None:
        """Run a cell where CUDA is; elsewhere show its recorded result."""
        name, *options = line.split() or [""]
        if not name or set(options) - {"--record"}:
            raise ValueError(f"gpu: expected `%%gpu NAME` or `%%gpu NAME --record`, got {line!r}.")
        if device() is None:
            print(told(name, cell))
            return None
        result = measure(name, cell, shell.user_ns)
        print(f"Run here, on {result.device.name}.")
        if options:
            print(f"Kept in {keep(result).name}.")
        return result

    shell.register_magic_function(gpu, magic_kind="cell", magic_name="gpu")


def _table(rows: list[Row]) -> list[str]:
    """Return lines of plain text: heads and rows, numbers with three digits that count."""
    heads = list(dict.fromkeys(name for row in rows for name in row))
    table = [heads, *([_word(row.get(head, "")) for head in heads] for row in rows)]
    widths = [max(len(line[k]) for line in table) for k in range(len(heads))]
    numeric = [all(not isinstance(row.get(h, 0), str) for row in rows) for h in heads]
    return [
        "  ".join(
            word.rjust(width) if right else word.ljust(width)
            for word, width, right in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in table
    ]


def _word(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
