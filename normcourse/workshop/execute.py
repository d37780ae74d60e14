"""Run notebooks side by side, each in a kernel of its own, and store what they printed."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from normcourse.workshop.console import COLOURS, Meter, Trouble, duration, meter, say
from normcourse.workshop.notebooks import Store, environment, read

__all__ = ["cores", "execute"]

CELL_SECONDS = 600


def cores() -> int:
    """The cores this process may use."""
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1


def execute(root: Path, paths: Sequence[Path]) -> int:
    """Execute those of ``paths`` whose outputs are not stored yet.

    Args:
        root: the folder of the course.
        paths: notebooks under it.

    Returns:
        How many were executed.

    Raises:
        Trouble: a notebook failed; the message names each, with its cell and the error.
    """
    store = Store(root)
    due = [path for path in paths if not store.holds(path)]
    if not due:
        say(f"Notebooks: all {len(paths)} unchanged, none to run")
        return 0
    with meter("Running notebooks", len(due)) as display:
        failures = _wait(_all(store, due, display))
        if failures:
            raise Trouble("\n\n".join(failures))
    return len(due)


def _wait(work: Coroutine[Any, Any, list[str]]) -> list[str]:
    """Await ``work`` in a thread, so that Ctrl-C reaches us and every kernel is shut down.

    In the main thread nbclient takes the signal for itself and reports a failed cell.
    """
    tasks: list[asyncio.Task[list[str]]] = []

    async def main() -> list[str]:
        tasks.append(asyncio.ensure_future(work))
        return await tasks[0]

    with ThreadPoolExecutor(max_workers=1) as pool:
        done = pool.submit(asyncio.run, main())
        try:
            while not wait([done], timeout=0.5).done:  # in slices: Windows cannot interrupt one
                pass
        except KeyboardInterrupt:
            for task in tasks:
                task.get_loop().call_soon_threadsafe(task.cancel)
            raise
    return done.result()


async def _all(store: Store, due: Sequence[Path], display: Meter) -> list[str]:
    gate = asyncio.Semaphore(cores())
    results = await asyncio.gather(*(_one(store, path, gate, display) for path in due))
    return [failure for failure in results if failure]


async def _one(store: Store, path: Path, gate: asyncio.Semaphore, display: Meter) -> str | None:
    """Run one notebook; return nothing, or the words that describe its failure."""
    name = path.relative_to(store.root).as_posix()
    async with gate:
        store.forget(path)
        notebook = read(path)
        start, place = time.monotonic(), _Place(notebook, name, display)
        try:
            await _client(store.root, path, notebook, place).async_execute(
                env=environment(store.root)
            )
        except Exception as error:
            _raise_if_cancelled()
            display.step(f"{name} FAILED in {place}")
            return f"{name} failed in {place}\n{_indent(_reason(error))}"
        seconds = time.monotonic() - start
        _number(notebook)
        store.put(path, notebook, seconds)
        display.step(f"{name}: {place.total} cells in {duration(seconds)}")
    return None


def _raise_if_cancelled() -> None:
    """nbclient takes a cancellation for a dead kernel; make it a cancellation again."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


class _Place:
    """Where a notebook is: told by the hooks of nbclient, read by messages."""

    def __init__(self, notebook: Any, name: str, display: Meter) -> None:
        self.code = [i for i, cell in enumerate(notebook.cells) if cell.cell_type == "code"]
        self.total, self.number, self.line = len(self.code), 0, ""
        self.name, self.display = name, display

    def start(self, cell: Any, cell_index: int) -> None:
        if cell.cell_type == "code":
            self.number = self.code.index(cell_index) + 1
            self.line = cell.source.strip().partition("\n")[0]
            self.display.show(f"{self.name}: cell {self.number} of {self.total}")

    def __str__(self) -> str:
        if not self.number:
            return "its kernel, before the first cell"
        return f"code cell {self.number} of {self.total}: {self.line}"


def _client(root: Path, path: Path, notebook: Any, place: _Place) -> Any:
    from nbclient import NotebookClient

    return NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
        on_cell_start=place.start,
        shutdown_kernel="immediate",
        extra_arguments=["--Application.log_level=40"],  # errors only: no remark on its transport
    )


def _number(notebook: Any) -> None:
    """Count code cells from one, as a run from top to bottom does."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for count, cell in enumerate(code, start=1):
        cell.execution_count = count
        cell.metadata.pop("execution", None)  # times of the run: noise
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = count


def _reason(error: Exception, lines: int = 12) -> str:
    """The last lines of a traceback, ending with the error itself, without colours."""
    text = getattr(error, "traceback", None) or f"{type(error).__name__}: {error}"
    return "\n".join(COLOURS.sub("", text).strip().splitlines()[-lines:])


def _indent(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())
